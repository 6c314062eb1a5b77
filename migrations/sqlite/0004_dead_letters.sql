-- What an operator may try again, and the shape of each recording.

-- `attempts` counts all tries there ever were; those before an operator had it tried again count against no limit.
alter table recordings add column attempts_forgiven integer not null default 0;
alter table recordings add column refusals integer not null default 0; -- put off untried since then: its host rested
alter table recordings add column waveform blob; -- peaks of each channel; migrations/README.md has the format

alter table analyses add column attempts integer not null default 0;
alter table analyses add column reason text;
alter table analyses add column last_error text;
alter table analyses add column failed_at text;
