-- API keys: hashes only; the key itself is printed once, when it is made.
create table api_keys (
    id bigint primary key generated always as identity,
    client text not null,
    environment text not null check (environment in ('test', 'live')),
    prefix text not null,
    digest bytea not null unique,
    created_at timestamp not null,
    last_used_at timestamp,
    revoked_at timestamp
);

comment on column api_keys.digest is 'SHA-256 of the key';
