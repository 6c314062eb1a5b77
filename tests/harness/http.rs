//! The HTTP client of the tests.

use std::time::Duration;

/// Longer than any answer of the program may take (a database out of reach is answered within 5 s).
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that goes to the address it is told, straight: no proxy, no redirects.
///
/// # Panics
/// When it cannot be built.
pub fn http_client() -> reqwest::Client {
    // Fails when it is there already, which is what is wanted.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .unwrap()
}
