//! Networks, as they are written in a setting. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// A comma-separated list of networks; an address alone is a network of one address. Host bits are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(entry: &str) -> Result<IpNet, String> {
    let net = match entry.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => entry
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| format!("`{entry}` is neither a network such as 10.0.0.0/8 nor an address"))?,
    };
    match net {
        // Addresses are judged in their IPv4 form, so such an entry would never match.
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(format!("`{entry}`: write an IPv4-mapped network in its IPv4 form"))
        }
        _ => Ok(net),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_a_comma_list() {
        let networks: Networks = " 127.0.0.0/8, ::1,10.1.2.3/8 ,".parse().unwrap();
        let expected = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"].map(|net| net.parse().unwrap());
        assert_eq!(networks, Networks(expected.to_vec()));
        assert_eq!("".parse(), Ok(Networks::default()));
        for wrong in ["no", "10.0.0.0/33", "example.com", "::ffff:10.0.0.0/104"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
