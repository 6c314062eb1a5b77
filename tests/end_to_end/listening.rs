//! A stored recording is heard again: whole, in parts, and from a bucket.

use harness::{Answer, Callvine, Origin, Provider, S3, TEST_KEY};
use reqwest::{Method, Response, StatusCode};

use crate::recordings::{PATIENCE, settled};
use crate::site::{Engine, on_both_engines};

on_both_engines!(
    a_recording_is_sent_whole_and_in_parts,
    a_recording_that_is_not_stored_or_not_yours_is_not_found,
);

struct Listener {
    url: String,
    client: reqwest::Client,
}

impl Listener {
    fn of(site: &str, id: i64) -> Self {
        Self { url: format!("{site}/calls/{id}/recording"), client: harness::http_client() }
    }

    async fn ask(&self, method: Method, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.request(method, &self.url).header("X-API-Key", TEST_KEY);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Response {
        self.ask(Method::GET, headers).await
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A recording of some hundred kilobytes at an origin, and the address of it.
async fn origin() -> (Origin, String, Vec<u8>) {
    let origin = Origin::start().await;
    let sound = harness::telephone_sound(30);
    let url = origin.serve("/call.wav", Answer::wav(sound.clone()));
    (origin, url, sound)
}

async fn assert_sent(site: &str, id: i64, sound: &[u8]) {
    let listener = Listener::of(site, id);
    let whole = listener.get(&[]).await;
    assert_eq!((whole.status(), header(&whole, "content-type")), (StatusCode::OK, "audio/wav"));
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
    let etag = header(&whole, "etag").to_owned();
    assert!(whole.bytes().await.unwrap() == sound, "byte for byte");

    let size = sound.len();
    for (range, expected) in [
        ("bytes=0-99", 0..100),
        ("bytes=70000-139999", 70_000..140_000),
        ("bytes=-7", size - 7..size),
        (&format!("bytes={}-", size - 1), size - 1..size),
    ] {
        let part = listener.get(&[("Range", range), ("If-Range", &etag)]).await;
        let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
        assert_eq!((part.status(), header(&part, "content-range")), (StatusCode::PARTIAL_CONTENT, &*told));
        assert!(part.bytes().await.unwrap() == sound[expected], "{range}");
    }
    let changed = listener.get(&[("Range", "bytes=0-9"), ("If-Range", "\"another\"")]).await;
    assert_eq!((changed.status(), changed.bytes().await.unwrap().len()), (StatusCode::OK, size));
    let beyond = listener.get(&[("Range", &format!("bytes={size}-"))]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{size}"));
    let known = listener.get(&[("If-None-Match", &etag)]).await;
    assert_eq!((known.status(), known.bytes().await.unwrap().len()), (StatusCode::NOT_MODIFIED, 0));
    let head = listener.ask(Method::HEAD, &[]).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, &*size.to_string()));
}

async fn a_recording_is_sent_whole_and_in_parts(engine: Engine) {
    let (_origin, url, sound) = origin().await;
    let site = engine.up(&[]).await;
    let ids = site.post(&[url]).await;
    site.stored(ids[0]).await;
    assert_sent(&site.url, ids[0], &sound).await;
    site.stop().await;
}

async fn a_recording_that_is_not_stored_or_not_yours_is_not_found(engine: Engine) {
    let (origin, url, _sound) = origin().await;
    let missing = origin.url("/missing.wav");
    let site = engine.up(&[("CALLVINE_FETCH_ATTEMPTS", "1")]).await;
    let ids = site.post(&[url, missing]).await;
    site.all_settled(&ids).await;
    let given_up = Listener::of(&site.url, ids[1]).get(&[]).await;
    assert_eq!(given_up.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        given_up.text().await.unwrap(),
        r#"{"error":"Not found","message":"The recording of this call is not stored"}"#
    );
    let nobodys = Listener::of(&site.url, 404).get(&[]).await;
    assert_eq!(nobodys.status(), StatusCode::NOT_FOUND);
    let no_call = nobodys.text().await.unwrap();
    assert_eq!(no_call, r#"{"error":"Not found","message":"There is no call with this ID"}"#);
    let url = format!("{}/calls/{}/recording", site.url, ids[0]);
    let client = harness::http_client();
    let others = client.get(&url).header("X-API-Key", "prod_key_456").send().await.unwrap();
    assert_eq!((others.status(), others.text().await.unwrap()), (StatusCode::NOT_FOUND, no_call));
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(client.put(&url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    site.stop().await;
}

#[tokio::test]
async fn a_recording_in_a_bucket_is_sent_likewise() {
    let (store, (_origin, url, sound)) = (S3::shared().await, origin().await);
    let bucket = store.bucket().await;
    let up = Callvine::new("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.1/32");
    let mut process = store.keeps(&bucket, up).start().await;
    let site = process.public().await;
    let provider = Provider::new(&site, TEST_KEY);
    let id = provider.deliver(&[provider.call(&url)], 1, PATIENCE).await[0].id;
    assert_eq!(settled(&site, TEST_KEY, id).await["recording"]["status"], "stored");
    assert_sent(&site, id, &sound).await;
    process.stop().await.assert_code(0);
}
