//! A small web server on loopback in the place of a provider's. It has recordings of calls; one is an error page, and one
//! is missing.

use std::convert::Infallible;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A file that the server has: its path, media type and content.
type File = (&'static str, &'static str, &'static [u8]);

macro_rules! recording {
    ($name:literal) => {
        (
            concat!("/", $name),
            "audio/wav",
            include_bytes!(concat!("../../../../demo/recordings/", $name)).as_slice(),
        )
    };
}

/// Real recordings of two-channel calls at 8 kHz, in the three encodings of telephony.
const RECORDINGS: [File; 7] = [
    recording!("billing-double-charge.wav"),
    recording!("parcel-delayed.wav"),
    recording!("password-reset.wav"),
    recording!("router-offline.wav"),
    recording!("flight-change.wav"),
    recording!("opening-hours.wav"),
    recording!("clinic-one-way.wav"),
];

/// An error page with status 200 in the place of a recording, as some hosts answer.
pub(super) const ERROR_PAGE: File = (
    "/maintenance.wav",
    "text/html",
    include_bytes!("../../../../demo/recordings/maintenance.html").as_slice(),
);

/// A path at which the server has nothing.
pub(super) const MISSING: &str = "/never-recorded.wav";

/// The path of the recording that call `number` has, and its length in whole seconds, rounded up.
pub(super) fn recording(number: usize) -> (&'static str, usize) {
    let Some((path, _, bytes)) = RECORDINGS.iter().cycle().nth(number) else { return (MISSING, 1) };
    // The header of a WAV file has the bytes of a second there.
    let field = bytes.get(28..32).and_then(|field| field.try_into().ok()).map_or(1, u32::from_le_bytes);
    let per_second = usize::try_from(field).unwrap_or(usize::MAX).max(1);
    (path, bytes.len().div_ceil(per_second))
}

/// Serves until the program ends; returns the server's address as `http://…`.
pub(super) async fn serve() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let address = listener.local_addr().context("the listener has no address")?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(async |request| answer(&request)));
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the demo's recordings ended badly");
                }
            });
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let files = RECORDINGS.iter().chain(std::iter::once(&ERROR_PAGE));
    let file = files.into_iter().find(|(path, ..)| *path == request.uri().path());
    let mut response =
        Response::new(Full::new(Bytes::from_static(file.map_or(b"", |(.., content)| content))));
    match file {
        Some((_, media_type, _)) => {
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(media_type));
        }
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}
