//! The HTTP client of the S3 store: hyper's, as a service of `object_store`.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter::successors;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::connect::Connections;

/// Longest request, from its start to the end of its answer, where [`ClientOptions`] has no limit.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for a connection with its TLS, where [`ClientOptions`] has no limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept for the next request: parts and recordings of a burst follow within it.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic =
            |source: io::Error| object_store::Error::Generic { store: "S3", source: Box::new(source) };
        Ok(HttpClient::new(Client::new(options, Matcher::from_env()).map_err(generic)?))
    }
}

/// A pool of connections, and the longest time that a request on one of them may take.
struct Client {
    pool: legacy::Client<Connections, HttpRequestBody>,
    timeout: Duration,
}

impl Client {
    fn new(options: &ClientOptions, proxies: Matcher) -> io::Result<Self> {
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|on| on == "true");
        let connect_timeout = duration(options, ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT)?;
        let connections = Connections::new(is_plain, connect_timeout, proxies)?;
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build(connections);
        Ok(Self { pool, timeout: duration(options, ClientConfigKey::Timeout, TIMEOUT)? })
    }
}

/// The duration that `options` have for `key`, or else `default`.
fn duration(options: &ClientOptions, key: ClientConfigKey, default: Duration) -> io::Result<Duration> {
    match options.get_config_value(&key) {
        Some(text) => humantime::parse_duration(&text).map_err(io::Error::other),
        None => Ok(default),
    }
}

/// Without the pool, which has nothing to say.
impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let user_agent = HeaderValue::from_static(concat!("callvine/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(user_agent);
        let deadline = Instant::now() + self.timeout;
        match timeout_at(deadline, self.pool.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| {
                HttpResponseBody::new(Timed { body, deadline: Box::pin(sleep_until(deadline)) })
            })),
            Ok(Err(error)) if error.is_connect() => Err(HttpError::new(HttpErrorKind::Connect, error)),
            Ok(Err(error)) => Err(HttpError::new(kind(&error), error)),
            Err(elapsed) => Err(HttpError::new(HttpErrorKind::Timeout, elapsed)),
        }
    }
}

/// The kind of a failed exchange, by which `object_store` decides whether to repeat it.
fn kind(error: &(dyn Error + 'static)) -> HttpErrorKind {
    for cause in successors(Some(error), |cause| Error::source(*cause)) {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
            if error.is_parse() {
                return HttpErrorKind::Decode;
            }
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::TimedOut => return HttpErrorKind::Timeout,
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return HttpErrorKind::Interrupted,
                _ => {}
            }
        }
    }
    HttpErrorKind::Unknown
}

/// The body of an answer, which must end before the deadline of its request.
struct Timed {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(
                frame.map(|frame| frame.map_err(|error| HttpError::new(kind(&error), error))),
            );
        }
        self.deadline.as_mut().poll(context).map(|()| {
            let elapsed = io::Error::from(io::ErrorKind::TimedOut);
            Some(Err(HttpError::new(HttpErrorKind::Timeout, elapsed)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection with `answer`, and hands out the head of what it was asked.
    async fn listener(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            if answer.is_empty() {
                // Keeps the connection until the client gives up.
                let _closed = stream.read_u8().await;
            }
            String::from_utf8(head).unwrap()
        });
        (address, asked)
    }

    async fn get(url: &str, options: ClientOptions, proxies: Matcher) -> Result<Bytes, HttpErrorKind> {
        let client = HttpClient::new(Client::new(&options, proxies).unwrap());
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().unwrap();
        let answer = client.execute(request).await.map_err(|error| error.kind())?;
        answer.into_body().bytes().await.map_err(|error| error.kind())
    }

    fn plain() -> ClientOptions {
        ClientOptions::new().with_allow_http(true)
    }

    #[tokio::test]
    async fn an_https_store_is_reached_through_the_proxy_and_an_http_one_directly() {
        let (proxy, asked) = listener(b"HTTP/1.1 502 No\r\n\r\n").await;
        let proxies = || Matcher::builder().all(format!("http://user:word@{proxy}")).build();
        let tunnelled = get("https://bucket.test/k", ClientOptions::new(), proxies()).await;
        assert_eq!(tunnelled, Err(HttpErrorKind::Connect));
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("CONNECT bucket.test:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_ascii_lowercase().contains("proxy-authorization: basic "), "{asked}");

        let (store, asked) = listener(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        assert_eq!(
            get(&format!("http://{store}/k?a=b"), plain(), proxies()).await.as_deref(),
            Ok(&b"hi"[..])
        );
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /k?a=b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {store}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn a_store_without_tls_is_asked_nothing_unless_that_is_allowed() {
        let refused = get("http://127.0.0.1:9/", ClientOptions::new(), Matcher::builder().build()).await;
        assert_eq!(refused, Err(HttpErrorKind::Connect));
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_or_breaks_off_is_told_by_its_kind() {
        let soon = || plain().with_timeout(Duration::from_millis(100));
        let none = || Matcher::builder().build();
        for (answer, options, kind) in [
            (&b""[..], soon(), HttpErrorKind::Timeout),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", plain(), HttpErrorKind::Interrupted),
            (b"nonsense\r\n\r\n", plain(), HttpErrorKind::Decode),
        ] {
            let (store, _asked) = listener(answer).await;
            assert_eq!(get(&format!("http://{store}/"), options, none()).await, Err(kind), "{answer:?}");
        }
    }
}
