//! The failures of requests that brought no answer.
//!
//! The causes may name addresses of this network, so they go to the log alone.

use std::error::Error;
use std::io;
use std::iter::successors;

use hyper_util::client::legacy;
use tracing::debug;

use super::kept::Answered;
use super::timed_out;
use crate::recording::address::ResolveError;
use crate::recording::failure::{Failure, Reason};

/// The failure of a request without an answer.
pub(super) fn failure(error: &legacy::Error) -> Failure {
    for cause in causes(error) {
        debug!(%cause, "a fetch was not answered: {cause}");
        if let Some(error) = cause.downcast_ref::<ResolveError>() {
            return Failure::from(*error);
        }
        if is_tls(cause) {
            return Failure::new(Reason::Tls, "the host's TLS is not valid");
        }
        if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return timed_out("the host could not be connected to in time");
        }
    }
    let detail = if error.is_connect() {
        "the host could not be connected to"
    } else if is_closed(error) {
        "the host closed the connection without an answer"
    } else {
        "the host's answer cannot be read as HTTP"
    };
    Failure::new(Reason::Connect, detail)
}

/// Whether the host closed a connection that it had answered on before: it was kept alive, and its end crossed the
/// request.
pub(super) fn is_stale(error: &legacy::Error) -> bool {
    error.connect_info().is_some_and(Answered::before) && is_closed(error)
}

/// Whether the connection ended before an answer, rather than with one that can't be read.
fn is_closed(error: &legacy::Error) -> bool {
    causes(error).any(|cause| {
        let by_hyper = cause.downcast_ref::<hyper::Error>();
        let by_hyper = by_hyper
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
        // A reset of the stream, or the end of an HTTP/2 connection.
        let by_host =
            cause.downcast_ref::<h2::Error>().is_some_and(|error| error.is_remote() || error.is_io());
        by_hyper || by_host || cause.is::<io::Error>()
    })
}

/// Whether a body broke HTTP's rules, in chunks that are none.
pub(super) fn is_unreadable(error: &hyper::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// An I/O error does not name the error it wraps as its source, and here one wraps another.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls(wrapped))
}

/// Everything below an error of the client.
fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), |cause| Error::source(*cause))
}
