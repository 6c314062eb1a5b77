-- One row a call and analyzer: the shipped one is called `quality`; others answer under names of their own.

create table analyses_of_each (
    call_id integer not null,
    analyzer text not null default 'quality', -- else the name under which somebody's own has answered
    status text not null check (status in ('requested', 'completed', 'failed')),
    version text, -- of the analyzer that answered, where it tells one
    results text, -- JSON object, as the analyzer gave it
    attempts integer not null default 0, -- all attempts, or answers, there ever were
    attempts_forgiven integer not null default 0, -- before an operator had it tried again: against no limit any more
    attempt_counted integer not null default 0, -- whether attempts includes the one that an analyzer is making
    claimed_until integer not null default 0, -- microseconds since 1970 UTC: an analyzer is at it until then
    next_attempt_at integer, -- microseconds since 1970 UTC: not attempted again before then
    reason text,
    last_error text,
    requested_at text not null,
    completed_at text,
    failed_at text,
    primary key (call_id, analyzer)
) strict, without rowid;

insert into analyses_of_each (call_id, analyzer, status, results, attempts, reason, last_error, requested_at, completed_at, failed_at)
select call_id, coalesce(analyzer, 'quality'), status, results, attempts, reason, last_error, requested_at, completed_at, failed_at
from analyses;
drop table analyses;
alter table analyses_of_each rename to analyses;
