-- A recording that may still be being written is looked at again.

-- SHA-256 of the last bytes that were fetched whose header leaves their size open; the same bytes at the next look are the
-- whole recording.
alter table recordings add column open_sha256 text;
