//! The means by which the tests drive the real program: private servers, faulty origins and networks, processes.
//!
//! Everything here fails the test, by panicking, when a step fails, and says what was run and what it answered.
//! Nothing here outlives the test process, and nothing waits but [`eventually()`].
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step fails the test")]

mod authority;
mod callvine;
mod clock;
mod database;
mod discreet;
mod eventually;
mod hostile;
mod http;
mod ledger;
mod load;
mod origin;
mod ports;
mod postgres;
mod process;
mod procfs;
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
pub use eventually::{PATIENCE, eventually, obtained};
pub use hostile::Hostile;
pub use http::http_client;
pub use ledger::{Ledger, Reckoning, settled};
pub use load::{Answered, Load};
pub use origin::{Answer, Origin, Seen};
pub use ports::free_port;
pub use postgres::{Fsync, Postgres};
pub use process::{Process, Signal, Start, new_directory, raise_open_files, run};
pub use procfs::{children, has_ended, peak_memory_bytes};
pub use provider::{Acknowledged, Attempt, Outcome, Provider, TEST_KEY};
pub use proxy::{Network, Proxy};
pub use rabbitmq::RabbitMq;
pub use s3::S3;
pub use secure_origin::{Break, Protocol, SecureOrigin, SeenSecurely};
pub use sounds::{Sound, sounds, telephone_file, telephone_sound, wav_file};
pub use subscriber::{Received, Subscriber};
pub use traffic::Traffic;
pub use volume::Volume;
