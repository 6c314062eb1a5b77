-- An attempt at a recording is counted before its file is read, so that what kills its reader is given up as well.

alter table recordings add column attempt_counted integer not null default 0; -- whether attempts includes the one that a worker is making
