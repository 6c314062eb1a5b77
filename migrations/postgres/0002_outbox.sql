-- What is to be published, and what in-process delivery has still to hand over.

-- The random name space of this database's event ids: an event's id is a UUIDv5 of it and of what the event says, so
-- the same event always has the same id, and two databases never share one.
create table installation (
    one boolean primary key default true check (one),
    event_namespace uuid not null default gen_random_uuid()
);
insert into installation default values;

-- A row is one event with its body, or the `call.created` of all calls of one batch: their ids from `first_call_id` to
-- `last_call_id`, and no bodies, since these can be made from `call_logs`. It leaves when the broker has confirmed all
-- of it. `available_at` is when it may be claimed, in microseconds since 1970 UTC: now for an event, later for a
-- retry, and the end of the lease while a relay has it in hand.
create table outbox (
    id bigint primary key generated always as identity,
    routing_key text not null,
    queue text,
    event_id text,
    body text,
    first_call_id bigint,
    last_call_id bigint,
    available_at bigint not null,
    created_at bigint not null,
    check ((body is null) = (first_call_id is not null) and (body is null) = (last_call_id is not null)),
    check ((body is null) = (event_id is null))
);
create index outbox_available_at on outbox (available_at);

comment on column outbox.queue is 'Set: straight to this queue; null: to the event exchange';

-- The queues of in-process delivery.
create table deliveries (
    id bigint primary key generated always as identity,
    queue text not null,
    event_id text not null,
    body text not null,
    attempts integer not null default 0,
    available_at bigint not null
);
create index deliveries_queue_available_at on deliveries (queue, available_at);
