-- API keys: hashes only; the key itself is printed once, when it is made.
create table api_keys (
    id integer primary key autoincrement,
    client text not null,
    environment text not null check (environment in ('test', 'live')),
    prefix text not null,
    digest blob not null unique, -- SHA-256 of the key
    created_at text not null,
    last_used_at text,
    revoked_at text
) strict;
