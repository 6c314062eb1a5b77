-- An attempt at a recording is counted before its file is read, so that what kills its reader is given up as well.

alter table recordings add column attempt_counted boolean not null default false;
comment on column recordings.attempt_counted is 'whether attempts includes the one that a worker is making';
