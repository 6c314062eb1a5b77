//! `callvine dead-letters`, as an operator uses it beside a running system.

use std::collections::BTreeMap;

use harness::{Answer, Origin, Subscriber, obtained, sounds};
use serde_json::{Value, json};

use crate::recordings::PATIENCE;
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    what_was_given_up_is_listed_shown_and_tried_again,
    a_second_failure_is_an_event_of_its_own,
    messages_that_no_worker_could_deal_with_are_queued_again,
    an_analysis_that_was_given_up_is_tried_again_without_the_recording,
    wrong_ids_and_arguments_are_named,
);

const SETTINGS: [(&str, &str); 2] = [("CALLVINE_FETCH_ATTEMPTS", "2"), ("CALLVINE_FETCH_BACKOFF", "10ms")];

/// Messages in the queue of dead letters.
async fn dead_messages(site: &Site) -> i64 {
    messages_in(site, "callvine.recordings.dead").await
}

async fn messages_in(site: &Site, queue: &str) -> i64 {
    let Some(url) = site.engine.amqp_url() else {
        let rest = match queue {
            "callvine.recordings.dead" => "from deliveries where queue = 'callvine.recordings.dead'",
            "callvine.analysis.dead" => "from deliveries where queue = 'callvine.analysis.dead'",
            "callvine.analysis" => "from deliveries where queue = 'callvine.analysis'",
            other => panic!("{other} is not looked into here"),
        };
        return site.engine.database().count(rest).await.unwrap();
    };
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, Default::default()).await;
    i64::from(queue.unwrap().message_count())
}

async fn dead_messages_are(site: &Site, count: i64) {
    harness::eventually(PATIENCE, "the queue of dead letters holds what it should", async || {
        dead_messages(site).await == count
    })
    .await;
}

async fn what_was_given_up_is_listed_shown_and_tried_again(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let nothing = site.engine.command("dead-letters").arg("list").run().await;
    nothing.assert_code(0);
    assert_eq!((nothing.stdout.as_str(), nothing.stderr.as_str()), ("", "nothing is given up\n"));
    assert!(site.dead_letters(&["list"]).await.is_empty());
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0);
    let wav = || Answer::wav(sound.bytes.clone());
    let late = origin.serve("/late.wav", Answer::Status(404)).replace("http://", "http://user:secret@");
    let page = origin.serve("/page.wav", Answer::page_as_audio());
    let ids = site.post(&[late, origin.serve("/good.wav", wav()), page]).await;
    site.all_settled(&ids).await;
    dead_messages_are(&site, 2).await;

    let listed = site.dead_letters(&["list"]).await;
    let fields = ["attempts", "call_id", "failed_at", "id", "kind", "last_error", "reason"];
    assert!(listed.iter().all(|line| line.as_object().unwrap().keys().eq(fields)), "{listed:?}");
    let (first, second) = (format!("r{}", ids[0]), format!("r{}", ids[2]));
    for (id, reason, attempts) in [(&first, "not_found", 2), (&second, "not_audio", 1)] {
        let line = listed.iter().find(|line| line["id"] == *id).unwrap();
        let said = json!([line["reason"], line["attempts"], line["kind"]]);
        assert_eq!(said, json!([reason, attempts, "recording"]), "{line}");
    }
    assert_eq!(listed.len(), 2);
    let table = site.engine.command("dead-letters").arg("list").run().await;
    table.assert_code(0);
    for expected in [&first, &second, "not_found", "not_audio", "the host answered 404"] {
        assert!(table.stdout.contains(expected), "{expected} is not in\n{}", table.stdout);
    }
    assert_eq!(table.stderr, "", "nothing else is in the queue");
    let shown = site.dead_letters(&["show", &first]).await;
    assert_eq!(shown[0]["recording_url"], origin.url("/late.wav"), "without the password");
    let shown = site.engine.command("dead-letters").args(["show", &second.to_uppercase()]).run().await;
    shown.assert_code(0);
    assert!(shown.stdout.contains("not_audio") && shown.stdout.contains("/page.wav"), "{}", shown.stdout);

    // The host has it now. It is signed in to, as the URL says: a retry goes on with all that was known.
    origin.serve("/late.wav", wav());
    let retried = site.engine.command("dead-letters").args(["retry", &first]).run().await;
    retried.assert_code(0);
    assert_eq!(retried.stdout, "1 queued again\n");
    let recording = site.settled(ids[0]).await;
    assert_eq!(json!([recording["status"], recording["attempts"]]), json!(["stored", 3]), "{recording}");
    assert_eq!(recording["sha256"], sound.sha256);
    assert!(origin.seen("/late.wav").iter().all(|seen| seen.header("authorization").is_some()));
    dead_messages_are(&site, 1).await;
    let again = site.dead_letters(&["retry", &first]).await;
    assert_eq!(again, [json!({"id": first, "result": "not_failed"})]);
    assert_eq!(origin.count("/late.wav"), 3, "it is not fetched again");
    assert_eq!(site.dead_letters(&["list"]).await.len(), 1);
    site.engine.command("audit").run().await.assert_code(0);
    site.stop().await;
}

async fn a_second_failure_is_an_event_of_its_own(engine: Engine) {
    let subscriber = match engine.amqp_url() {
        Some(url) => Some(Subscriber::start(url).await),
        None => None,
    };
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let ids = site.post(&[origin.serve("/gone.wav", Answer::Status(404))]).await;
    assert_eq!(site.settled(ids[0]).await["attempts"], 2);
    let queued = site.dead_letters(&["retry", "--all"]).await;
    assert_eq!(queued, [json!({"id": format!("r{}", ids[0]), "result": "queued"})]);
    let recording = obtained(PATIENCE, "it is given up again", async || {
        let recording = site.settled(ids[0]).await;
        (recording["attempts"] == 4).then_some(recording)
    })
    .await;
    assert_eq!(recording["status"], "failed", "as many tries as a new one, and no more: {recording}");
    assert_eq!(origin.count("/gone.wav"), 4);
    dead_messages_are(&site, 1).await;
    if let Some(subscriber) = subscriber {
        let key = ("recording.failed".to_owned(), ids[0]);
        let failures: BTreeMap<String, u32> =
            obtained(PATIENCE, "both failures are told, each with an id of its own", async || {
                let received = subscriber.received();
                received.get(&key).filter(|ids| ids.len() == 2).map(|ids| ids.clone().into_iter().collect())
            })
            .await;
        assert_eq!(failures.len(), 2);
    }
    site.stop().await;
}

/// Goal: what ended in a dead-letter queue without being given up isn't lost. Method: move the message of a pending
/// call there, beside one that is nobody's.
async fn messages_that_no_worker_could_deal_with_are_queued_again(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let later = Answer::RetryAfter { status: 503, value: "3000".to_owned() };
    let wav = Answer::wav(sounds(1).remove(0).bytes);
    let paths = ["/later.wav", "/latest.wav"];
    let urls = paths.map(|path| origin.serve_in_turn(path, vec![later.clone()], wav.clone()));
    let ids = site.post(&urls).await;
    for id in &ids {
        obtained(PATIENCE, "it was tried once", async || {
            (site.call(*id).await["recording"]["attempts"] == 1).then_some(())
        })
        .await;
    }
    let database = site.engine.database();
    // As a worker leaves it that is killed whenever it has this message.
    database.execute("delete from outbox").await;
    database.execute("update recordings set next_attempt_at = null").await;
    for body in [message_about(ids[0]), "not JSON".to_owned()] {
        put_into(&site, "callvine.recordings.dead", &body).await;
    }
    dead_messages_are(&site, 2).await;

    let id = format!("r{}", ids[0]);
    for _ in 0..3 {
        let listed = site.engine.command("dead-letters").arg("list").run().await;
        listed.assert_code(0);
        let said = "callvine.recordings.dead holds 1 that are none of Callvine's events";
        assert!(listed.stderr.contains(said), "{}", listed.stderr);
        assert!(listed.stdout.contains(&id) && listed.stdout.lines().count() == 2, "{}", listed.stdout);
    }
    let line = json!({"id": id, "kind": "recording", "call_id": ids[0], "reason": "http_status", "attempts": 1,
        "last_error": "the host answered 503", "failed_at": null});
    assert_eq!(site.dead_letters(&["list"]).await, [line]);
    let shown = site.dead_letters(&["show", &id]).await;
    assert_eq!(shown[0]["recording_url"], origin.url("/later.wav"));
    dead_messages_are(&site, 2).await;
    let by_id = format!("r{}", ids[1]);
    put_into(&site, "callvine.recordings.dead", &message_about(ids[1])).await;
    let queued = site.dead_letters(&["retry", &by_id]).await;
    assert_eq!(queued, [json!({"id": by_id, "result": "queued"})]);
    assert_eq!(site.settled(ids[1]).await["status"], "stored");
    assert_eq!(site.call(ids[0]).await["recording"]["status"], "pending", "nobody asked for it yet");
    dead_messages_are(&site, 2).await;

    let queued = site.dead_letters(&["retry", "--all"]).await;
    assert_eq!(queued, [json!({"id": id, "result": "queued"})]);
    assert_eq!(site.settled(ids[0]).await["status"], "stored");
    dead_messages_are(&site, 1).await;
    site.stop().await;
}

fn message_about(id: i64) -> String {
    let subject = format!("calls/{id}");
    json!({"id": "x", "type": "ai.callvine.call.created", "subject": subject, "data": {}}).to_string()
}

async fn put_into(site: &Site, queue: &str, body: &str) {
    let Some(url) = site.engine.amqp_url() else {
        return site.engine.database().put_delivery(queue, body).await;
    };
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (options, properties) = Default::default();
    channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

/// Method: as an analyzer leaves it that gives up, with the request in the dead letters.
async fn an_analysis_that_was_given_up_is_tried_again_without_the_recording(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0);
    let ids = site.post(&[origin.serve("/call.wav", Answer::wav(sound.bytes))]).await;
    assert_eq!(site.settled(ids[0]).await["status"], "stored");
    let requests = async |count| {
        harness::eventually(PATIENCE, "the requests are in their queue", async || {
            messages_in(&site, "callvine.analysis").await == count
        })
        .await;
    };
    requests(1).await;
    let database = site.engine.database();
    database
        .execute(
            "update analyses set status = 'failed', attempts = 3, reason = 'timeout', last_error = 'too slow'",
        )
        .await;
    let request = message_about(ids[0]).replace("call.created", "analysis.requested");
    put_into(&site, "callvine.analysis.dead", &request).await;

    let id = format!("a{}", ids[0]);
    let line = json!({"id": id, "kind": "analysis", "call_id": ids[0], "reason": "timeout", "attempts": 3,
        "last_error": "too slow", "failed_at": null});
    assert_eq!(site.dead_letters(&["list"]).await, [line]);
    assert_eq!(site.dead_letters(&["show", &id]).await[0]["kind"], "analysis");
    let queued = site.dead_letters(&["retry", &id]).await;
    assert_eq!(queued, [json!({"id": id, "result": "queued"})]);
    requests(2).await;
    assert_eq!(messages_in(&site, "callvine.analysis.dead").await, 0);
    assert_eq!(site.call(ids[0]).await["analysis"]["status"], "requested");
    assert!(site.dead_letters(&["list"]).await.is_empty());

    // A request that no analyzer could deal with, while the analysis still waits for one.
    put_into(&site, "callvine.analysis.dead", &request).await;
    assert_eq!(site.dead_letters(&["list"]).await[0]["id"], id);
    let queued = site.dead_letters(&["retry", "--all"]).await;
    assert_eq!(queued, [json!({"id": id, "result": "queued"})]);
    requests(3).await;
    assert_eq!(messages_in(&site, "callvine.analysis.dead").await, 0);
    assert_eq!(origin.count("/call.wav"), 1, "the recording is not fetched again");
    site.stop().await;
}

async fn wrong_ids_and_arguments_are_named(engine: Engine) {
    let site = engine.up(&SETTINGS).await;
    let origin = Origin::start().await;
    let ids = site.post(&[origin.serve("/gone.wav", Answer::Status(410))]).await;
    site.all_settled(&ids).await;
    let run = async |arguments: &[&str]| site.engine.command("dead-letters").args(arguments).run().await;
    for (arguments, named) in [
        (&["show", "17"][..], "r17"),
        (&["show", "x17"], "r17"),
        (&["show"], "ID"),
        (&["retry"], "ID"),
        (&["retry", "r-1"], "r17"),
        (&["retry", "r1", "--all"], "--all"),
        (&["list", "--nonsense"], "--nonsense"),
        (&[], "list"),
    ] {
        let finished = run(arguments).await;
        finished.assert_code(2);
        assert!(finished.stderr.contains(named), "{arguments:?}: {}", finished.stderr);
    }
    for arguments in [["show", "r999999"], ["show", "a1"], ["retry", "r999999"]] {
        let finished = run(&arguments).await;
        finished.assert_code(1);
        assert!(finished.stderr.contains("dead-letters list"), "{arguments:?}: {}", finished.stderr);
    }
    // Known ids are done, whatever else is asked for.
    let known = format!("r{}", ids[0]);
    let mixed = run(&["retry", "r999999", &known, "--json"]).await;
    mixed.assert_code(1);
    let lines: Vec<Value> = mixed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [json!({"id": "r999999", "result": "unknown"}), json!({"id": known, "result": "queued"})];
    assert_eq!(lines, expected);
    site.stop().await;
}
