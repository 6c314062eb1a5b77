//! Which addresses may be fetched from: none inside this network, however it is spelt.
//!
//! A recording's URL comes from outside, so it can be a forged request to this network. The text is parsed once, and the
//! same [`Url`] goes to the client. IP literals are judged here, names by every address that they resolve to, and the
//! client connects to exactly the addresses that were judged. No other code decides which address may be connected to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use super::failure::{Failure, Reason};

/// Longest resolution of one name. A recording that waits for it holds a permit of its host and one of the worker.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most addresses of one name. A name with more is refused rather than judged in part.
const ADDRESSES_MAX: usize = 64;

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
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

impl Guard {
    /// A guard that lets public addresses through, and those of `allowed` (`CALLVINE_FETCH_ALLOW`).
    #[must_use]
    pub fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether this address may be connected to. IPv4 addresses are judged as such in whichever form they come.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if METADATA.contains(&address) {
            return self.allowed.contains(&IpNet::from(address));
        }
        let allowed = self.allowed.iter().any(|network| network.contains(&address));
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

    /// Parses a recording's URL and judges its scheme and host.
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

    /// Judges the scheme and the host of a URL. A name is judged by its spelling here, and by its addresses in
    /// [`Resolver`].
    ///
    /// # Errors
    /// [`Reason::BlockedAddress`] where this may not be fetched from.
    pub fn judge(&self, url: &Url) -> Result<(), Failure> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(blocked("the address is not an http or https URL"));
        }
        let permitted = match url.host() {
            None => false,
            Some(Host::Ipv4(v4)) => self.permits(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.permits(IpAddr::V6(v6)),
            Some(Host::Domain(name)) => self.permits_name(name),
        };
        if permitted { Ok(()) } else { Err(blocked(NOT_PUBLIC)) }
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

/// A name without permitted addresses. The fetch finds it in the source chain of the client's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// At least one of its addresses may not be connected to. Then none is: only an attack mixes both kinds.
    #[error("{NOT_PUBLIC}")]
    Blocked,
    /// No address, or no answer.
    #[error("the host's name has no address")]
    Unknown,
    /// No answer within [`RESOLVE_TIMEOUT`].
    #[error("the name server did not answer in time")]
    TimedOut,
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let reason = match error {
            ResolveError::Blocked => Reason::BlockedAddress,
            ResolveError::Unknown | ResolveError::TimedOut => Reason::Dns,
        };
        Self::new(reason, error.to_string())
    }
}

/// Resolves names for the HTTP client, and judges every answer. Resolving and connecting use one answer, so a name
/// that changes its mind in between gains nothing. IP literals never come here: [`Guard::judge`] judges them.
#[derive(Clone, Debug)]
pub struct Resolver {
    guard: Guard,
    source: Source,
}

/// The source of answers.
#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Table(fn(&str) -> Vec<IpAddr>),
}

impl Resolver {
    /// A resolver that asks the system.
    #[must_use]
    pub fn system(guard: Guard) -> Self {
        Self { guard, source: Source::System }
    }

    /// A resolver that asks `table`, in tests.
    #[cfg(test)]
    pub(super) fn table(guard: Guard, table: fn(&str) -> Vec<IpAddr>) -> Self {
        Self { guard, source: Source::Table(table) }
    }

    /// The addresses of a name, all permitted; never empty.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let answers = tokio::time::timeout(RESOLVE_TIMEOUT, self.ask(name));
        let answers =
            answers.await.map_err(|_| ResolveError::TimedOut)?.map_err(|_| ResolveError::Unknown)?;
        if answers.is_empty() {
            return Err(ResolveError::Unknown);
        }
        let permitted =
            answers.len() <= ADDRESSES_MAX && answers.iter().all(|address| self.guard.permits(address.ip()));
        if permitted { Ok(answers) } else { Err(ResolveError::Blocked) }
    }

    /// In the order of the answer, which is the system's preference, and each once.
    async fn ask(&self, name: &str) -> std::io::Result<Vec<SocketAddr>> {
        let answers: Vec<SocketAddr> = match self.source {
            // Port 0 stands for the port of the URL.
            Source::System => tokio::net::lookup_host((name, 0)).await?.collect(),
            #[cfg(test)]
            Source::Table(table) => table(name).into_iter().map(|ip| SocketAddr::new(ip, 0)).collect(),
        };
        let mut seen = BTreeSet::new();
        Ok(answers.into_iter().filter(|address| seen.insert(*address)).collect())
    }
}

#[cfg(test)]
mod tests;
