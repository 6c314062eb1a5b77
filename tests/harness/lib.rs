//! What the tests of Callvine drive the real program with: private servers, faulty origins and networks, processes.
//!
//! Everything here fails the test, by panicking, when a step fails, and says what was run and what it answered.
//! Nothing here outlives the test process, and nothing waits but [`eventually()`].
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step fails the test")]

mod authority;
mod callvine;
mod clock;
mod database;
mod eventually;
mod hostile;
mod http;
mod ledger;
mod load;
mod origin;
mod ports;
mod postgres;
mod process;
mod provider;
mod proxy;
mod rabbitmq;
mod s3;
mod secure_origin;
mod sounds;
mod subscriber;
mod traffic;
mod volume;

pub use authority::{Authority, Validity, self_signed};
pub use callvine::{Callvine, Finished, Running};
pub use clock::Clock;
pub use database::{Database, StoredCall};
pub use eventually::{eventually, obtained};
pub use hostile::Hostile;
pub use http::http_client;
pub use ledger::{Ledger, Reckoning, settled};
pub use load::{Answered, Load};
pub use origin::{Answer, Origin, Seen};
pub use ports::free_port;
pub use postgres::{Fsync, Postgres};
pub use process::{
    Process, Signal, Start, children, has_ended, new_directory, peak_memory_bytes, raise_open_files, run,
};
pub use provider::{Acknowledged, Attempt, Outcome, Provider};
pub use proxy::{Network, Proxy};
pub use rabbitmq::RabbitMq;
pub use s3::S3;
pub use secure_origin::{Break, Protocol, SecureOrigin, SeenSecurely};
pub use sounds::{Sound, sounds, telephone_file, telephone_sound};
pub use subscriber::{Received, Subscriber};
pub use traffic::Traffic;
pub use volume::Volume;
