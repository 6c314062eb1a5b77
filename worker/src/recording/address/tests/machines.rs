//! Ports of other services, and this machine itself.

use super::*;

#[test]
fn ports_of_other_services_are_blocked_unless_their_network_is_allowed() {
    let guard = allowing(&["10.1.0.0/16"]);
    for port in [21, 22, 25, 110, 587, 993, 1023, 3306, 5432, 6379, 9200, 11211, 27017] {
        for host in ["8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]"] {
            assert_blocked(&guard, &format!("http://{host}:{port}/"));
        }
        assert_blocked(&Guard::default(), &format!("https://example.com:{port}/"));
        guard.parse(&format!("http://10.1.2.3:{port}/")).unwrap();
        // Its addresses decide.
        guard.parse(&format!("http://example.com:{port}/")).unwrap();
    }
    let failure = guard.parse("http://8.8.8.8:25/").unwrap_err();
    assert_eq!(failure.detail, "the port is not one of a web server");
    let failure = guard.parse("http://192.168.0.1:25/").unwrap_err();
    assert_eq!(failure.detail, "the address is not public", "an address is judged before its port");
}

#[tokio::test]
async fn at_a_port_of_other_services_every_address_of_a_name_must_be_allowed() {
    fn table(name: &str) -> Vec<IpAddr> {
        let addresses: &[&str] = match name {
            "inside.example" => &["10.1.0.1", "10.1.0.2"],
            "half.example" => &["10.1.0.1", "93.184.216.34"],
            "outside.example" => &["93.184.216.34"],
            _ => &["10.2.0.1"],
        };
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }
    let resolver = Resolver::table(allowing(&["10.1.0.0/16"]), table);
    for (name, at_web_ports, at_others) in [
        ("inside.example", Ok(2), Ok(2)),
        ("half.example", Ok(2), Err(ResolveError::Port)),
        ("outside.example", Ok(1), Err(ResolveError::Port)),
        ("private.example", Err(ResolveError::Blocked), Err(ResolveError::Blocked)),
    ] {
        for (port, expected) in [(443, at_web_ports), (25, at_others)] {
            let answer = resolver.clone().for_port(Port::of(port)).addresses(name).await;
            assert_eq!(answer.map(|addresses| addresses.len()), expected, "{name}:{port}");
        }
    }
}

#[test]
fn public_addresses_of_this_machine_are_blocked_unless_they_are_allowed() {
    fn own() -> std::io::Result<Vec<IpAddr>> {
        Ok(["8.8.4.4", "::ffff:1.1.1.1", "2606:4700::1001"].map(|address| address.parse().unwrap()).to_vec())
    }
    let guard = |allowed: &[&str]| {
        let allowed: Vec<IpNet> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        Guard::with_own(&allowed, OwnAddresses::listed_by(own))
    };
    for host in
        ["8.8.4.4", "134743044", "1.1.1.1", "[::ffff:8.8.4.4]", "[2606:4700::1001]", "[64:ff9b::808:404]"]
    {
        assert_blocked(&guard(&[]), &format!("http://{host}/"));
    }
    for host in ["8.8.8.8", "[2606:4700::1002]"] {
        guard(&[]).parse(&format!("http://{host}/")).unwrap();
    }
    guard(&["8.8.4.4/32"]).parse("http://8.8.4.4:25/").unwrap();
    let unlisted = Guard::with_own(&[], OwnAddresses::listed_by(|| Err(std::io::ErrorKind::Other.into())));
    unlisted.parse("http://8.8.4.4/").unwrap();
    let ends = |near: &str, far: &str| (near.parse().unwrap(), far.parse().unwrap());
    for ((near, far), permitted) in [
        (ends("192.168.0.2:5000", "8.8.4.4:80"), true),
        (ends("192.168.0.2:5000", "8.8.4.4:25"), false),
        (ends("8.8.4.4:5000", "8.8.4.4:80"), false),
        (ends("[::ffff:8.8.4.4]:5000", "8.8.4.4:80"), false),
        (ends("8.8.4.4:5000", "192.168.0.2:80"), false),
    ] {
        assert_eq!(unlisted.permits_connection(near, far), permitted, "{near} to {far}");
    }
    assert!(
        allowing(&["127.0.0.1/32"])
            .permits_connection("127.0.0.1:5000".parse().unwrap(), "127.0.0.1:25".parse().unwrap())
    );
}

#[test]
fn the_system_lists_this_machines_addresses() {
    let own = OwnAddresses::system();
    assert!(own.contain("127.0.0.1".parse().unwrap()));
    assert!(!own.contain("8.8.8.8".parse().unwrap()));
}
