//! Shared by the tests of the HTTP interface: a program on SQLite, and requests to it.

use harness::{Callvine, Running, TEST_KEY};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

/// `callvine up` in a directory of its own, and a client.
pub(crate) struct Up {
    pub(crate) process: Running,
    pub(crate) url: String,
    pub(crate) client: Client,
}

impl Up {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        let mut program = Callvine::new("up");
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let mut process = program.start().await;
        let url = process.public().await;
        Self { process, url, client: client() }
    }

    /// Posts this body with the test key.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        self.send(Method::POST, "/webhook.php", &[("X-API-Key", TEST_KEY)], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("X-API-Key", TEST_KEY)], "").await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }
}

/// A client that goes nowhere else, whatever the environment says.
pub(crate) fn client() -> Client {
    builder().build().unwrap()
}

pub(crate) fn builder() -> reqwest::ClientBuilder {
    // Installed already by another test: that is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy()
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Asserts status and body; the body to the byte, but for insignificant white space.
    #[track_caller]
    pub(crate) fn assert(&self, status: u16, body: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.body, without_white_space(body));
    }
}

/// JSON without the white space between its tokens, order and spelling as they are.
pub(crate) fn without_white_space(json: &str) -> String {
    let (mut compact, mut in_string, mut escaped) = (String::new(), false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            compact.push(character);
        }
        in_string ^= character == '"' && !escaped;
        escaped = in_string && character == '\\' && !escaped;
    }
    compact
}

/// A complete call; `changes` replaces fields, or removes them where it says null.
pub(crate) fn call(changes: &Value) -> Value {
    let mut call = json!({
        "from_phone": "9087270291",
        "to_phone": "8006000009",
        "handled_by": "Agent Smith",
        "department": "Customer Service",
        "start_time": "2024-01-15 09:00:00",
        "end_time": "2024-01-15 09:15:00",
        "recording_url": "https://example.com/recordings/call123.wav"
    });
    for (name, value) in changes.as_object().unwrap() {
        call[name] = value.clone();
    }
    call
}
