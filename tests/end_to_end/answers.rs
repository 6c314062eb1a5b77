//! Somebody's own analyzer hears a recording and answers.

use std::process::Stdio;

use harness::{Answer, Origin, sounds};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::recordings::PATIENCE;
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    an_analyst_hears_every_clients_recordings_and_answers_them,
    an_answer_that_is_none_is_refused_with_its_cause,
);

/// An analyzer with a key of its own.
struct Analyst {
    site: String,
    key: String,
    client: reqwest::Client,
}

impl Analyst {
    async fn of(site: &Site) -> Self {
        let create = site.engine.command("keys").args(["create", "--client", "acme", "--role", "analyst"]);
        // A live key would end the published test keys, with which the calls are posted.
        let created = create.args(["--env", "test"]).run().await;
        created.assert_code(0);
        let analyst = Self {
            site: site.url.clone(),
            key: created.stdout.trim().to_owned(),
            client: harness::http_client(),
        };
        harness::eventually(PATIENCE, "the key counts", async || {
            analyst.ask(Method::GET, "/calls/1", String::new()).await.0 != StatusCode::UNAUTHORIZED
        })
        .await;
        analyst
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> (StatusCode, Value) {
        let request =
            self.client.request(method, format!("{}{path}", self.site)).header("X-API-Key", &self.key);
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn put(&self, id: i64, name: &str, body: &str) -> (StatusCode, Value) {
        self.ask(Method::PUT, &format!("/calls/{id}/analyses/{name}"), body.to_owned()).await
    }
}

/// A call whose recording is stored.
async fn stored(site: &Site) -> i64 {
    let origin = Origin::start().await;
    let url = origin.serve("/call.wav", Answer::wav(harness::telephone_sound(1)));
    let ids = site.post(&[url]).await;
    site.stored(ids[0]).await;
    ids[0]
}

async fn an_analyst_hears_every_clients_recordings_and_answers_them(engine: Engine) {
    let site = engine.up(&[]).await;
    let (id, analyst) = (stored(&site).await, Analyst::of(&site).await);
    let heard = analyst.client.get(format!("{}/calls/{id}/recording", site.url));
    let heard = heard.header("X-API-Key", &analyst.key).send().await.unwrap();
    assert_eq!(heard.status(), StatusCode::OK);
    assert!(heard.bytes().await.unwrap() == harness::telephone_sound(1));

    let (status, answer) = analyst.put(id, "acme-talk", r#"{"score": 7, "words": ["a", null]}"#).await;
    assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)), "{answer}");
    let analysis = &answer["data"];
    assert_eq!(analysis["analyzer"], "acme-talk");
    assert_eq!((&analysis["status"], &analysis["attempts"]), (&json!("completed"), &json!(1)));
    assert_eq!(analysis["results"], json!({"score": 7, "words": ["a", null]}));
    let again = analyst.put(id, "acme-talk", r#"{"score": 7, "words": ["a", null]}"#).await;
    assert_eq!(again, (status, answer.clone()), "the same again changes nothing");

    let (status, failed) = analyst.put(id, "acme-talk", r#"{"failed": "no words in it"}"#).await;
    assert_eq!((status, &failed["data"]["status"]), (StatusCode::OK, &json!("failed")));
    assert_eq!(failed["data"]["last_error"], "no words in it");
    assert_eq!((&failed["data"]["reason"], &failed["data"]["results"]), (&json!("reported"), &Value::Null));

    let call = site.call(id).await;
    let names: Vec<&Value> =
        call["analyses"].as_array().unwrap().iter().map(|each| &each["analyzer"]).collect();
    assert_eq!(names, ["acme-talk", "quality"], "its provider sees it too");
    assert_eq!(call["analysis"]["status"], "requested");
    site.stop().await;
}

async fn an_answer_that_is_none_is_refused_with_its_cause(engine: Engine) {
    let site = engine.up(&[]).await;
    let (id, analyst) = (stored(&site).await, Analyst::of(&site).await);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(256 * 1024));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (name, body, status, error) in [
        ("acme", "", 400, "Invalid JSON"),
        ("acme", "[1]", 400, "Invalid JSON"),
        ("acme", r#"{"score": NaN}"#, 400, "Invalid JSON"),
        ("acme", &deep, 400, "Invalid JSON"),
        ("acme", r#"{"failed": ""}"#, 400, "Invalid field value"),
        ("acme", &long, 413, "Payload too large"),
        ("quality", "{}", 400, "Invalid analyzer name"),
        ("Acme", "{}", 400, "Invalid analyzer name"),
        ("a%20b", "{}", 400, "Invalid analyzer name"),
    ] {
        let (answered, answer) = analyst.put(id, name, body).await;
        assert_eq!((answered.as_u16(), &answer["error"]), (status, &json!(error)), "{name}: {answer}");
    }
    assert_eq!(analyst.put(404, "acme", "{}").await.0, StatusCode::NOT_FOUND);
    let (status, answer) = analyst.ask(Method::POST, "/webhook.php", "{}".to_owned()).await;
    assert_eq!((status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("Forbidden")), "it posts no calls");
    let provider = Analyst { key: harness::TEST_KEY.to_owned(), ..analyst };
    let (status, answer) = provider.put(id, "acme", "{}").await;
    assert_eq!((status, &answer["error"]), (StatusCode::FORBIDDEN, &json!("Forbidden")));
    assert_eq!(site.call(id).await["analyses"].as_array().unwrap().len(), 1, "nothing was kept");
    site.stop().await;
}

/// Starts the analyzer of docs/analyzers.md, and waits until its queue is bound.
async fn documented_analyzer(site: &Site, key: &str) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/analyzers/loudest.py");
    let mut analyzer = Command::new("/usr/bin/python3")
        .arg(script)
        .env("AMQP_URL", site.engine.amqp_url().unwrap())
        .env("CALLVINE_URL", &site.url)
        .env("CALLVINE_KEY", key)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(analyzer.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    assert_eq!(first.as_deref(), Some("listening"));
    analyzer
}

#[tokio::test]
async fn the_documented_analyzer_hears_of_recordings_and_answers_them() {
    let site = Engine::servers().await.up(&[]).await;
    let analyst = Analyst::of(&site).await;
    let mut analyzer = documented_analyzer(&site, &analyst.key).await;
    let origin = Origin::start().await;
    // One of 16-bit samples, which it can read, and one of A-law, which it can't.
    let sound = sounds(1).remove(0);
    let recordings = [
        origin.serve("/pcm.wav", Answer::wav(sound.bytes)),
        origin.serve("/alaw.wav", Answer::wav(harness::telephone_sound(1))),
    ];
    let mut answers = Vec::new();
    for id in site.post(&recordings).await {
        let answer = harness::obtained(PATIENCE, "it has answered", async || {
            let call = site.call(id).await;
            call["analyses"].as_array()?.iter().find(|each| each["analyzer"] == "loudest").cloned()
        });
        answers.push(answer.await);
    }
    assert_eq!(answers[0]["status"], "completed", "{}", answers[0]);
    let peak = answers[0]["results"]["peak"].as_i64().unwrap();
    let measured = sox_peak(&sound.path).await;
    assert_eq!(peak, measured, "as sox measures it");
    assert_eq!(answers[1]["status"], "failed", "{}", answers[1]);
    analyzer.kill().await.unwrap();
    site.stop().await;
}

/// The loudest sample of a file, in 32,768ths of full scale, as sox finds it.
async fn sox_peak(path: &std::path::Path) -> i64 {
    let measured = Command::new("sox").arg(path).args(["-n", "stat"]).output().await.unwrap();
    let text = String::from_utf8(measured.stderr).unwrap();
    let amplitude = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(':').next_back().unwrap().trim().parse().unwrap()
    };
    let peak = amplitude("Maximum amplitude").max(-amplitude("Minimum amplitude"));
    #[expect(clippy::cast_possible_truncation, reason = "a sample has 16 bits")]
    let samples = (peak * 32_768.0).round() as i64;
    samples
}
