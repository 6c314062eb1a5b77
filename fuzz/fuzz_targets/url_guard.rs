//! The address of a recording: the guard lets through no address that is not public, however it is spelt.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use callvine_worker::recording::address::Guard;
use libfuzzer_sys::fuzz_target;
use url::Host;

fuzz_target!(|text: &str| {
    let guard = Guard::default();
    let Ok(url) = guard.parse(text) else { return };
    assert!(matches!(url.scheme(), "http" | "https"));
    match url.host().expect("there is a host") {
        Host::Ipv4(address) => assert_public(address),
        Host::Ipv6(address) => {
            assert!(guard.permits(IpAddr::V6(address)));
            assert_public_v6(address);
        }
        Host::Domain(name) => {
            assert!(!name.is_empty() && name.parse::<IpAddr>().is_err());
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            assert!(name != "localhost" && !name.ends_with(".localhost"));
        }
    }
    // The client parses the same URL from it.
    assert_eq!(guard.parse(url.as_str()), Ok(url.clone()));
});

/// Judges by the standard library, not by the guard.
fn assert_public(address: Ipv4Addr) {
    let [first, second, ..] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_inside = address.is_private() || address.is_loopback() || address.is_link_local() || is_shared;
    let is_special = first == 0 || first >= 224 || address.is_documentation();
    assert!(!is_inside && !is_special, "{address}");
}

fn assert_public_v6(address: Ipv6Addr) {
    let is_inside = address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || address.is_unspecified();
    assert!(!is_inside, "{address}");
    if let Some(inner) = address.to_ipv4() {
        assert_public(inner);
    }
}
