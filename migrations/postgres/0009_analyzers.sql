-- One row a call and analyzer: the shipped one is called `quality`; others answer under names of their own. A worker of before
-- this can't keep recordings beside it, and their messages wait in the dead letters: end the old workers first.

update analyses set analyzer = 'quality' where analyzer is null;
alter table analyses drop constraint analyses_pkey;
alter table analyses
    alter column analyzer set default 'quality',
    alter column analyzer set not null,
    add primary key (call_id, analyzer),
    add column version text,
    add column claimed_until bigint not null default 0,
    add column next_attempt_at bigint,
    add column attempt_counted boolean not null default false,
    add column attempts_forgiven integer not null default 0;

comment on column analyses.analyzer is 'quality: the shipped one; else the name under which somebody''s own has answered';
comment on column analyses.version is 'Version of the analyzer that answered, where it tells one';
comment on column analyses.results is 'JSON object, as the analyzer gave it';
comment on column analyses.claimed_until is 'Microseconds since 1970 UTC: an analyzer is at it until then';
comment on column analyses.next_attempt_at is 'Microseconds since 1970 UTC: not attempted again before then';
comment on column analyses.attempts is 'All attempts, or answers, there ever were';
comment on column analyses.attempts_forgiven is 'Attempts before an operator had it tried again: they count against no limit any more';
comment on column analyses.attempt_counted is 'Whether attempts includes the one that an analyzer is making';
