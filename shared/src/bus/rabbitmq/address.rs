//! The broker's address, read and checked once.

use std::fmt;
use std::str::FromStr;

use lapin::uri::AMQPUri;

use crate::bus::BusError;

/// Seconds between heartbeats, unless the address says otherwise: a peer that vanished without a FIN is noticed after two.
const HEARTBEAT_SECONDS: u16 = 5;

/// Largest frame, unless the address says otherwise. lapin keeps two buffers of 32 frames for each connection; with
/// RabbitMQ's 128 KiB that would be 8 MiB. A larger message is sent in several frames.
const FRAME_MAX_BYTES: u32 = 16 * 1024;

/// The address of a broker, `amqp://…` or `amqps://…`. Its password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl(AMQPUri);

impl BrokerUrl {
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

impl FromStr for BrokerUrl {
    type Err = BusError;

    fn from_str(text: &str) -> Result<Self, BusError> {
        // The parser's own message may quote the password.
        let mut uri: AMQPUri = text.parse().map_err(|_error| BusError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max.get_or_insert(FRAME_MAX_BYTES);
        Ok(Self(uri))
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.0.authority;
        write!(f, "BrokerUrl({}:{}/{})", authority.host, authority.port, self.0.vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_told_from_others() {
        for text in ["amqp://localhost", "amqps://user:secret@broker:5671/calls?heartbeat=3"] {
            assert!(text.parse::<BrokerUrl>().is_ok(), "{text}");
        }
        for text in ["", "localhost", "http://localhost", "amqp://host:port/"] {
            assert!(text.parse::<BrokerUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_never_shows() {
        let address: BrokerUrl = "amqp://user:secret@broker/calls".parse().unwrap();
        assert_eq!(format!("{address:?}"), "BrokerUrl(broker:5672/calls)");
        let error = "amqp://user:secret@broker:port/".parse::<BrokerUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
