//! Hostile spellings, by table and by chance.

use super::*;
use proptest::prelude::*;

mod machines;

fn allowing(networks: &[&str]) -> Guard {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
    Guard::new(&networks)
}

#[track_caller]
fn assert_blocked(guard: &Guard, url: &str) {
    match guard.parse(url) {
        Ok(parsed) => panic!("{url} was let through as {parsed}"),
        Err(failure) => assert_eq!(failure.reason, Reason::BlockedAddress, "{url}"),
    }
}

const HOSTILE: &[&str] = &[
    // Loopback, as every parser in the world spells it.
    "http://127.0.0.1/",
    "HTTP://127.0.0.1/",
    "https://127.0.0.1:8443/x.wav",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1\\.example.com/",
    "http://example.com@127.0.0.1/",
    "http://user:password@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    // Found by the fuzzer, which wrote many more dots.
    "http://localhost../",
    "https://....localhost....//I.cz\u{7db}m/a.w!v",
    "http://files..localhost/",
    "http://../",
    "http://files.localhost/",
    "http://metadata.google.internal/",
    "http://pbx.local/",
    // Private, carrier, link-local, metadata.
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.1/",
    "http://192.168.1.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    "http://[4000::1]/",
    "http://[2001::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    // No URLs that this program fetches.
    "gopher://127.0.0.1/",
    "file:///etc/passwd",
    "ftp://example.com/",
    "https:example.com",
    "http:/example.com",
    "http:///example.com/x",
    "http://\\example.com/x",
    "http://",
    "http://:80/",
    "http://./",
    "http://256.1.1.1/",
    "http://1.2.3.4.5/",
    "http://[fe80::1%25eth0]/",
    "http://[::1/",
    "http://example.com:99999/",
    "example.com/x.wav",
    " http://example.com/",
    "",
];

#[test]
fn hostile_spellings_are_blocked() {
    for url in HOSTILE {
        assert_blocked(&Guard::default(), url);
    }
}

#[test]
fn public_addresses_and_names_pass() {
    for url in [
        "http://example.com/call.wav",
        "HTTPS://EXAMPLE.COM:8443/call.wav?token=a%20b#part",
        "https://user:password@pbx.example.com/",
        "http://localhost.example.com/",
        "http://internal.example.com/",
        "http://8.8.8.8/",
        "http://100.63.255.255/",
        "http://172.32.0.1/",
        "http://192.167.255.255/",
        "http://223.255.255.255/",
        "http://[2606:4700::1111]/",
        "http://[2a00:1450::1]/",
        "http://münchen.example/",
    ] {
        Guard::default().parse(url).unwrap_or_else(|failure| panic!("{url}: {failure}"));
    }
}

#[test]
fn an_allowed_network_opens_itself_and_nothing_else() {
    let guard = allowing(&["127.0.0.0/8", "10.1.0.0/16", "fd12::/16"]);
    for url in [
        "http://127.0.0.1:9/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.1.2.3/",
        "http://[fd12::1]/",
        "http://localhost:9000/",
        "http://pbx.internal/",
    ] {
        guard.parse(url).unwrap_or_else(|failure| panic!("{url}: {failure}"));
    }
    for url in ["http://10.2.0.1/", "http://192.168.0.1/", "http://[::1]/", "http://[2002:7f00:1::]/"] {
        assert_blocked(&guard, url);
    }
}

#[test]
fn metadata_addresses_are_opened_by_their_own_entry_alone() {
    let everything = allowing(&["0.0.0.0/0", "::/0"]);
    for address in METADATA {
        assert!(!everything.permits(address), "{address}");
        assert!(Guard::new(&[IpNet::from(address)]).permits(address), "{address}");
    }
    assert_blocked(&everything, "http://[64:ff9b::a9fe:a9fe]/");
    assert_blocked(&everything, "http://[2002:a9fe:a9fe::1]/");
    assert!(everything.permits("127.0.0.1".parse().unwrap()));
    assert!(everything.permits("64:ff9b::7f00:1".parse().unwrap()));
}

#[tokio::test]
async fn one_denied_answer_refuses_them_all() {
    fn table(name: &str) -> Vec<IpAddr> {
        let addresses: &[&str] = match name {
            "public.example" => &["93.184.216.34", "2606:2800:220:1::1", "93.184.216.34"],
            "mixed.example" => &["93.184.216.34", "127.0.0.1"],
            "mapped.example" => &["::ffff:10.0.0.1"],
            _ => &[],
        };
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }
    let resolver = Resolver::table(Guard::default(), table);
    let found = resolver.addresses("public.example").await.unwrap();
    assert_eq!(found.len(), 2, "each address once");
    for (name, error) in [
        ("mixed.example", ResolveError::Blocked),
        ("mapped.example", ResolveError::Blocked),
        ("nowhere.example", ResolveError::Unknown),
    ] {
        assert_eq!(resolver.addresses(name).await, Err(error), "{name}");
    }
}

#[tokio::test]
async fn the_system_resolves_localhost_to_what_is_blocked() {
    let resolver = Resolver::system(Guard::default());
    assert_eq!(resolver.addresses("localhost").await, Err(ResolveError::Blocked));
}

/// Any address of a network, in proportion to nothing: both ends and the middle matter alike.
fn within(network: Ipv4Net) -> impl Strategy<Value = Ipv4Addr> {
    (u32::from(network.network())..=u32::from(network.broadcast())).prop_map(Ipv4Addr::from)
}

fn denied_v4() -> impl Strategy<Value = Ipv4Addr> {
    proptest::sample::select(DENIED_V4.to_vec()).prop_flat_map(within)
}

fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let number = u32::from(address);
    let (high, low) = (number >> 16, number & 0xffff);
    vec![
        address.to_string(),
        format!("{address}."),
        number.to_string(),
        format!("{number:#x}"),
        format!("{number:#X}"),
        format!("0{number:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.0{b:o}.{c:#x}.{d}"),
        format!("{a}.{}", number & 0x00ff_ffff),
        format!("{a}.{b}.{}", number & 0xffff),
        format!("{a}。{b}．{c}｡{d}"),
        address.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect(),
        address.to_string().chars().map(fullwidth).collect(),
        format!("[::ffff:{address}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[::{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
    ]
}

fn fullwidth(character: char) -> char {
    match character.to_digit(10) {
        Some(digit) => char::from_u32(0xff10 + digit).unwrap(),
        None => character,
    }
}

proptest! {
    #[test]
    fn every_denied_v4_address_is_blocked_in_every_spelling(address in denied_v4(), port in 1_u16..) {
        for host in spellings(address) {
            assert_blocked(&Guard::default(), &format!("http://{host}:{port}/call.wav"));
            assert_blocked(&Guard::default(), &format!("https://user:word@{host}/"));
        }
    }

    #[test]
    fn every_denied_v6_address_is_blocked(
        network in proptest::sample::select(DENIED_V6.to_vec()),
        host_bits in any::<u128>(),
    ) {
        let mask = u128::from(network.hostmask());
        let address = Ipv6Addr::from(u128::from(network.network()) | (host_bits & mask));
        assert_blocked(&Guard::default(), &format!("http://[{address}]/"));
    }

    #[test]
    fn everything_outside_v6_unicast_is_blocked(bits in any::<u128>()) {
        let address = Ipv6Addr::from(bits);
        prop_assume!(!UNICAST_V6.contains(&address) && address.to_ipv4_mapped().is_none());
        assert_blocked(&Guard::default(), &format!("http://[{address}]/"));
    }

    #[test]
    fn no_text_makes_the_guard_panic(text in "\\PC*", scheme in "(http://|https://|)") {
        drop(Guard::default().parse(&format!("{scheme}{text}")));
    }
}
