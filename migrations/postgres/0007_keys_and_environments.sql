-- Keys with a role, an expiry and limits of their own; calls that say for which environment their key was.

alter table api_keys
    add column role text not null default 'provider' check (role in ('provider', 'analyst')),
    add column expires_at timestamp,
    add column rate_per_second double precision check (rate_per_second > 0),
    add column dedupe_seconds bigint check (dedupe_seconds > 0);

comment on column api_keys.role is 'provider: posts calls and reads its own; analyst: reads every client''s';
comment on column api_keys.expires_at is 'UTC; refused from then on; null: never';
comment on column api_keys.rate_per_second is 'Calls a second that one gateway process takes; null: any number';
comment on column api_keys.dedupe_seconds is 'A post with the fields of an earlier one within this time is the same call; null: never';

alter table call_logs add column env text not null default 'live' check (env in ('test', 'live'));

comment on column call_logs.env is 'Environment of the API key that the call was sent with: test or live';
