-- Posts that were stored, by their marks: another one with the same mark is the same call until the mark expires, and is
-- answered like the first one. A gateway removes rows that have expired. Times are microseconds since 1970 UTC.
create table idempotency_marks (
    mark blob primary key not null, -- SHA-256 of a client and its Idempotency-Key, or of a client and the fields of a call
    body_sha256 blob, -- SHA-256 of the request's body; null: the mark is of the fields
    call_id integer not null, -- the call that was stored; it may be gone by now
    received_at integer not null,
    expires_at integer not null
) strict, without rowid;
create index idempotency_marks_expires_at on idempotency_marks (expires_at);
