-- Calls, their recordings and analyses. All times are UTC, written as text: YYYY-MM-DD HH:MM:SS.

create table call_logs (
    id integer primary key autoincrement,
    client text not null,
    from_phone text not null,
    to_phone text not null,
    handled_by text not null,
    department text,
    start_time text not null,
    end_time text not null,
    recording_url text not null, -- as sent, without user name and password
    title text not null,
    created_at text not null
) strict;

create table recordings (
    call_id integer primary key,
    status text not null default 'pending' check (status in ('pending', 'stored', 'failed')),
    url_userinfo text, -- user name and password of the recording's URL, until it is stored
    attempts integer not null default 0,
    claimed_until integer not null default 0, -- microseconds since 1970 UTC: a worker is at it until then
    next_attempt_at integer, -- microseconds since 1970 UTC: not tried again before then
    reason text,
    last_error text,
    location text,
    size_bytes integer,
    sha256 text,
    media_type text,
    codec text,
    verification text,
    duration_seconds real,
    channels integer,
    sample_rate integer,
    stored_at text,
    failed_at text
) strict;

create table analyses (
    call_id integer primary key,
    status text not null check (status in ('requested', 'completed', 'failed')),
    analyzer text,
    results text,
    requested_at text not null,
    completed_at text
) strict;
