-- What an operator may try again, and the shape of each recording.

alter table recordings
    add column attempts_forgiven integer not null default 0,
    add column refusals integer not null default 0,
    add column waveform bytea;

comment on column recordings.attempts is 'All tries there ever were';
comment on column recordings.attempts_forgiven is 'Tries before an operator had it tried again: they count against no limit any more';
comment on column recordings.refusals is 'How often it was put off untried since then, because its host rested';
comment on column recordings.waveform is 'Peaks of each channel; migrations/README.md has the format; null where the sound was not decoded';

alter table analyses
    add column attempts integer not null default 0,
    add column reason text,
    add column last_error text,
    add column failed_at timestamp;
