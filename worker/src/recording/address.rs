//! Which addresses may be fetched from: none inside this network, however it is spelt, none of this machine, and no port at
//! which other services than web servers listen.
//!
//! A recording's URL comes from outside, so it can be a forged request to this network. The text is parsed once, and the
//! same [`Url`] goes to the client. IP literals are judged here, names by every address that they resolve to, and the
//! client connects to exactly the addresses that were judged. No other code decides which address may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use self::own::OwnAddresses;
use super::failure::{Failure, Reason};

mod own;
mod ports;
mod resolver;

pub(super) use resolver::Port;
pub use resolver::{ResolveError, Resolver};

/// IANA's IPv4 special-purpose registry, multicast and reserved space, and Azure's platform address.
const DENIED_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([168, 63, 129, 16], 32),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
];

/// The only IPv6 space that is assigned for use on the internet; the rest is special, local or unassigned. The rest
/// includes `::1`, IPv4-compatible addresses, NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), `100::/64`, `5f00::/16`,
/// `fc00::/7`, `fe80::/10`, `fec0::/10` and `ff00::/8`.
const UNICAST_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IANA's IPv6 special-purpose registry within [`UNICAST_V6`].
const DENIED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Addresses at which clouds give credentials to any process that asks: AWS (also to containers), Azure, Alibaba, Oracle,
/// Google. An allowed network does not include them; only their own /32 or /128 does.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// Names that mean this machine or this network, and are refused without a query.
const LOCAL_NAMES: [&str; 3] = ["localhost", "internal", "local"];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Judges addresses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
    own: Arc<OwnAddresses>,
}

impl Default for Guard {
    /// A guard that lets only public addresses through.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Guard {
    /// A guard that lets public addresses through, and those of `allowed` (`CALLVINE_FETCH_ALLOW`).
    #[must_use]
    pub fn new(allowed: &[IpNet]) -> Self {
        Self::with_own(allowed, OwnAddresses::system())
    }

    fn with_own(allowed: &[IpNet], own: OwnAddresses) -> Self {
        Self { allowed: allowed.into(), own: Arc::new(own) }
    }

    /// Whether `CALLVINE_FETCH_ALLOW` lists this address.
    fn lists(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Whether this address may be connected to. IPv4 addresses are judged as such in whichever form they come.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if METADATA.contains(&address) {
            return self.allowed.contains(&IpNet::from(address));
        }
        let allowed = self.lists(address);
        if !allowed && self.own.contain(address) {
            return false;
        }
        match address {
            IpAddr::V4(v4) => allowed || !DENIED_V4.iter().any(|network| network.contains(&v4)),
            IpAddr::V6(v6) => {
                let public =
                    UNICAST_V6.contains(&v6) && !DENIED_V6.iter().any(|network| network.contains(&v6));
                // A translated address ends at the IPv4 address within, so that one counts as well.
                (allowed || public) && embedded(v6).is_none_or(|v4| self.permits(IpAddr::V4(v4)))
            }
        }
    }

    /// Whether a connection from this machine's address `local` to `remote` may be used. One with the same address at both
    /// ends leads to this machine, whatever list the system gave of its addresses.
    pub(super) fn permits_connection(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let (near, far) = (local.ip().to_canonical(), remote.ip().to_canonical());
        let is_usual = near != far && ports::serves_recordings(remote.port());
        self.permits(far) && (is_usual || self.lists(far))
    }

    /// Parses a recording's URL and judges its scheme, host and port.
    ///
    /// # Errors
    /// [`Reason::BlockedAddress`] where this can't be fetched from, or can't be understood.
    pub fn parse(&self, text: &str) -> Result<Url, Failure> {
        // The URL standard also accepts `https:host` and `http:///host`, which no sender means.
        let host = text.split_once("://").filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        if host.is_none_or(|(_, rest)| rest.starts_with(['/', '\\'])) {
            return Err(blocked("the address is not an http or https URL"));
        }
        let url = Url::parse(text).map_err(|_| blocked("the address is not a valid URL"))?;
        self.judge(&url)?;
        Ok(url)
    }

    /// Judges the scheme, the host and the port of a URL. A name is judged by its spelling here, and by its addresses in
    /// [`Resolver`].
    ///
    /// # Errors
    /// [`Reason::BlockedAddress`] where this may not be fetched from.
    pub fn judge(&self, url: &Url) -> Result<(), Failure> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(blocked("the address is not an http or https URL"));
        }
        let (permitted, listed) = match url.host() {
            None => (false, false),
            Some(Host::Ipv4(v4)) => self.judge_address(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.judge_address(IpAddr::V6(v6)),
            // Its addresses may turn out to be listed.
            Some(Host::Domain(name)) => (self.permits_name(name), !self.allowed.is_empty()),
        };
        match url.port_or_known_default() {
            _ if !permitted => Err(blocked(NOT_PUBLIC)),
            Some(port) if listed || ports::serves_recordings(port) => Ok(()),
            _ => Err(blocked(NO_WEB_PORT)),
        }
    }

    /// Whether this address may be connected to, and whether `CALLVINE_FETCH_ALLOW` lists it.
    fn judge_address(&self, address: IpAddr) -> (bool, bool) {
        (self.permits(address), self.lists(address))
    }

    /// Where networks are allowed, local names are too, and their addresses decide. A name with nothing between two dots is
    /// refused: resolvers differ about `localhost..`.
    fn permits_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let top = name.rsplit('.').next().unwrap_or(name);
        !name.split('.').any(str::is_empty) && (!self.allowed.is_empty() || !LOCAL_NAMES.contains(&top))
    }
}

/// The text that API clients see of a refused address. It does not tell which network the address is in.
const NOT_PUBLIC: &str = "the address is not public";

/// The text that API clients see of a refused port.
const NO_WEB_PORT: &str = "the port is not one of a web server";

fn blocked(detail: &str) -> Failure {
    Failure::new(Reason::BlockedAddress, detail)
}

/// The IPv4 address that a NAT64 (RFC 6052) or 6to4 (RFC 3056) address leads to.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0x0064, 0xff9b, 0, 0, 0, 0] => (g, h),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests;
