"""The rules of a call that JSON Schema can't express, for the requests that schemathesis takes to be right: the call ends after
it starts, an integer is written with digits alone, and a new call has a new idempotency key. Requests that schemathesis
means to be wrong stay as they are."""

import uuid

import schemathesis
from hypothesis import strategies as st

# Addresses of many forms; the schema's pattern says what they have in common.
LABELS = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.just("bücher.example"),
)
URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["http", "https", "HTTP", "hTTps"]),
    st.sampled_from(["", "user@", "user:pa%20ss@"]),
    HOSTS,
    st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)),
    st.from_regex(r"(/[!-~é名]{0,20}){0,4}", fullmatch=True),
)
schemathesis.openapi.format("recording-url", URLS)

FIRST, SECOND = "1970-01-01 00:00:00", "1970-01-01 00:00:01"


def in_order(one, other):
    """Two different times, the earlier one first. Their texts sort as they do."""
    start, end = sorted([one, other])
    if start < end:
        return start, end
    return (FIRST, end) if end > FIRST else (FIRST, SECOND)


def with_digits_alone(value):
    """JSON Schema takes 46.0 for an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = (uuid.uuid4().hex + case.headers["Idempotency-Key"])[:255]
    if isinstance(case.body, dict) and {"start_time", "end_time"} <= case.body.keys():
        body = {name: with_digits_alone(value) for name, value in case.body.items()}
        body["start_time"], body["end_time"] = in_order(body["start_time"], body["end_time"])
        case.body = body
