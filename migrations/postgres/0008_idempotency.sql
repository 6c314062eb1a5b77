-- Posts that were stored, by their marks: another one with the same mark is the same call until the mark expires, and is
-- answered like the first one. A gateway removes rows that have expired. Times are microseconds since 1970 UTC.
create table idempotency_marks (
    mark bytea primary key,
    body_sha256 bytea,
    call_id bigint not null,
    received_at bigint not null,
    expires_at bigint not null
);
create index idempotency_marks_expires_at on idempotency_marks (expires_at);

comment on column idempotency_marks.mark is 'SHA-256 of a client and its Idempotency-Key, or of a client and the fields of a call';
comment on column idempotency_marks.body_sha256 is 'SHA-256 of the request''s body; null: the mark is of the fields';
comment on column idempotency_marks.call_id is 'The call that was stored; it may be gone by now';
