//! Times and recording URLs that the published page accepts, and ones that it refuses. Each is told here once: the tests
//! by example take all of them, and the oracle picks from them.

/// Times that exist and are written as published, in ascending order.
pub(super) const TIMES: [&str; 6] = [
    "1970-01-01 00:00:00",
    "2000-02-29 12:00:00",
    "2024-01-15 09:00:00",
    "2024-01-15 09:00:01",
    "2024-02-29 23:59:59",
    "9999-12-31 23:59:59",
];

/// Texts that are not times as published, or name a time that does not exist.
pub(super) const NO_TIMES: [&str; 38] = [
    // Too short or too long.
    "now",
    "2024-01-15",
    "2024-01-15 09:00",
    "2024-1-15 9:00:00",
    "2024-1-15 09:00:00",
    "2024-01-15 9:00:00",
    "12024-01-15 09:00:00",
    "10000-01-01 00:00:00",
    "+2024-01-15 09:00:00",
    "2024-01-15 09:00:00Z",
    // White space that does not belong there.
    " 2024-01-15 09:00:00",
    "2024-01-15 09:00:00 ",
    "2024-01-15 09:00:00\n",
    "2024-01-15  09:00:00",
    "2024-01-15  9:00:00",
    "2024-01-15\u{a0}09:00:00",
    // Other separators, signs and digits.
    "2024-01-15T09:00:00",
    "2024/01/15 09:00:00",
    "15-01-2024 09:00:00",
    "+024-01-15 09:00:00",
    "2024-01-15 -1:00:00",
    "２０２４-01-15 09:00",
    "２024-01-15 09:00",
    "２024-1-15 09:00:0",
    "٢٠٢٤-01-15 09:00:00",
    // No such time.
    "0000-01-01 00:00:00",
    "1969-12-31 23:59:59",
    "1900-02-29 12:00:00",
    "2023-02-29 00:00:00",
    "2024-02-30 09:00:00",
    "2024-04-31 00:00:00",
    "2024-13-01 00:00:00",
    "2024-00-10 00:00:00",
    "2024-01-00 00:00:00",
    "2024-01-15 24:00:00",
    "2024-01-15 23:60:00",
    "2024-01-15 23:59:60",
    "2024-01-15 09:00:60",
];

/// Absolute `http` and `https` URLs with a host. An address that may not be fetched from is one of them: the worker
/// refuses it.
pub(super) const URLS: [&str; 19] = [
    "http://x",
    "https://example.com/a.wav",
    "https://example.com?x",
    "HTTPS://EXAMPLE.COM/a.wav",
    "HTTP://EXAMPLE.com:8080/?a=\"b\"",
    "hTTp://127.0.0.1:9/x",
    "http://10.0.0.1/",
    "http://10.0.0.1",
    "http://[::1]:8000/x",
    "https://[::1]/x",
    "http://localhost",
    "http://localhost/x#y",
    "http://user:pass@host/a?b#c",
    "http://@host/",
    "http://a@b@c/",
    "http://bücher.example/ä.wav",
    "http://u:p@h/ä",
    "http://host/a%20b",
    "https://x/?u=http://y",
];

/// Texts that are no URL of a recording.
pub(super) const NO_URLS: [&str; 34] = [
    // No scheme, or another one.
    "x",
    "example.com/a.wav",
    "//x/a",
    "ftp://x/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "javascript://x/%0aalert(1)",
    "xhttp://x",
    "data:http://x",
    // Not two slashes.
    "http:x",
    "https:x.com",
    "http:/x",
    "https:/example.com/a.wav",
    "http:///x",
    "http://\\x",
    // No host, or one that is none.
    "http://",
    "http://:80/",
    "http://user@/",
    "http://user:pw@:80",
    "http://?x",
    "http://#x",
    "http://a@//b",
    "http://a@\\b",
    "http://<x>/",
    "http://[::1",
    "http://256.1.1.1/a.wav",
    "http://x:99999/",
    "http://x:y/",
    // White space.
    " http://x",
    "http://x ",
    "http://x/a b",
    "http://exa mple.com/a",
    "http://x/\u{a0}",
    "http://x/\u{3000}",
];
