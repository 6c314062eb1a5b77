-- Calls, their recordings and analyses. All times are UTC.

-- Handed out in blocks, so that a gateway knows the ids of a batch before it inserts it. Gaps are normal: what is
-- left of a block when its process ends is never used.
create sequence call_ids as bigint increment by 1000;

create table call_logs (
    id bigint primary key default nextval('call_ids'),
    client text not null,
    from_phone text not null,
    to_phone text not null,
    handled_by text not null,
    department text,
    start_time timestamp not null,
    end_time timestamp not null,
    recording_url text not null,
    title text not null,
    created_at timestamp not null
);

comment on table call_logs is 'One row per accepted call; open to analysts';
comment on column call_logs.client is 'Whose API key the call was sent with';
comment on column call_logs.recording_url is 'As sent, without user name and password';
comment on column call_logs.created_at is 'UTC, whole seconds';

-- No foreign key to call_logs: both rows are written by one statement, and the check would cost every insert.
create table recordings (
    call_id bigint primary key,
    status text not null default 'pending' check (status in ('pending', 'stored', 'failed')),
    url_userinfo text,
    attempts integer not null default 0,
    claimed_until bigint not null default 0,
    next_attempt_at bigint,
    reason text,
    last_error text,
    location text,
    size_bytes bigint,
    sha256 text,
    media_type text,
    codec text,
    verification text,
    duration_seconds double precision,
    channels integer,
    sample_rate integer,
    stored_at timestamp,
    failed_at timestamp
);

comment on column recordings.url_userinfo is 'User name and password of the recording''s URL, until it is stored';
comment on column recordings.claimed_until is 'Microseconds since 1970 UTC: a worker is at it until then';
comment on column recordings.next_attempt_at is 'Microseconds since 1970 UTC: not tried again before then';

create table analyses (
    call_id bigint primary key,
    status text not null check (status in ('requested', 'completed', 'failed')),
    analyzer text,
    results text,
    requested_at timestamp not null,
    completed_at timestamp
);
