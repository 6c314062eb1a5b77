//! The host that a request is for: judged where RFC 9112 demands it, and where a page in a browser could reach a listener
//! that trusts everybody on this machine.

use std::net::IpAddr;

use http::header::HOST;
use http::{Request, Version};

use crate::rejection::Rejection;

/// Refuses an HTTP/1.1 request without `Host`, with two, or with one that is no host (RFC 9112, section 3.2). Two are a
/// means to be understood differently by a proxy and by us.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Rejection> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, None) if request.version() != Version::HTTP_11 => Ok(()),
        _ => Err(Rejection::Host),
    }
}

/// Refuses a request for a host whose name anybody can point here. A page that was loaded from such a name may read the
/// answers (DNS rebinding). Names that only this machine resolves, and addresses, can't be pointed elsewhere.
pub(crate) fn check_local<B>(request: &Request<B>) -> Result<(), Rejection> {
    let from_header = request.headers().get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let host = request.uri().authority().map(http::uri::Authority::as_str).or(from_header);
    // Without one no browser asks.
    if host.is_none_or(is_local) { Ok(()) } else { Err(Rejection::ForeignHost) }
}

/// Bytes of a host and a port; an empty one is allowed where the target has no host.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+,;=%".contains(byte))
}

fn is_local(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = without_port.trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_1_1_request_has_exactly_one_host() {
        for (version, hosts, is_fine) in [
            (Version::HTTP_11, &["callvine.example:8080"][..], true),
            (Version::HTTP_11, &["[::1]:8080"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["user@a"], false),
            (Version::HTTP_11, &["\u{e4}"], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
            (Version::HTTP_2, &[], true),
        ] {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header(HOST, host.as_bytes());
            }
            assert_eq!(check(&request.body(()).unwrap()).is_ok(), is_fine, "{version:?} {hosts:?}");
        }
    }

    #[test]
    fn only_names_that_nobody_can_point_here_are_local() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "[::1]:8081",
            "[::1]",
            "10.0.0.7:80",
            "localhost",
            "LocalHost.:8081",
            "callvine.localhost",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "1:2:x",
            "0x7f.1",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn the_target_wins_over_the_header() {
        let request = |target: &str, host: &str| Request::get(target).header(HOST, host).body(()).unwrap();
        assert!(check_local(&request("http://evil.example/", "localhost")).is_err());
        assert!(check_local(&request("http://localhost/", "evil.example")).is_ok());
        assert!(check_local(&request("/", "evil.example")).is_err());
        assert!(check_local(&Request::get("/").body(()).unwrap()).is_ok());
    }
}
