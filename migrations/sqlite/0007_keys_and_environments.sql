-- Keys with a role, an expiry and limits of their own; calls that say for which environment their key was.

-- provider: posts calls and reads its own; analyst: reads every client's.
alter table api_keys add column role text not null default 'provider' check (role in ('provider', 'analyst'));
-- UTC; refused from then on; null: never.
alter table api_keys add column expires_at text;
-- Calls a second that one gateway process takes; null: any number.
alter table api_keys add column rate_per_second real check (rate_per_second > 0);
-- A post with the fields of an earlier one within this time is the same call; null: never.
alter table api_keys add column dedupe_seconds integer check (dedupe_seconds > 0);

-- Environment of the API key that the call was sent with.
alter table call_logs add column env text not null default 'live' check (env in ('test', 'live'));
