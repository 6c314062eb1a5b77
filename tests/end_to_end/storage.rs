//! The object store fails: no host is blamed, and nothing is lost by it.

use harness::{Answer, Origin, telephone_sound};
use serde_json::json;

use crate::site::{Engine, on_both_engines};

on_both_engines!(a_store_that_takes_nothing_is_storage_and_is_asked_again);

/// Method: where the day's directory is to be made, there is a file.
async fn a_store_that_takes_nothing_is_storage_and_is_asked_again(engine: Engine) {
    let settings = [("CALLVINE_FETCH_ATTEMPTS", "3"), ("CALLVINE_FETCH_BACKOFF", "20ms")];
    let site = engine.up(&settings).await;
    let origin = Origin::start().await;
    let year = chrono::Utc::now().format("%Y").to_string();
    let recordings = site.directory().join("callvine-data/recordings");
    std::fs::create_dir_all(&recordings).unwrap();
    std::fs::write(recordings.join(&year), "in the way").unwrap();
    // More than it takes to send a host to rest, which this one must not be.
    let urls: Vec<String> =
        (0..12).map(|call| origin.serve(&format!("/{call}"), Answer::wav(telephone_sound(1)))).collect();
    let ids = site.post(&urls).await;
    for (recording, number) in site.all_settled(&ids).await.iter().zip(0..) {
        let said = json!([recording["status"], recording["reason"], recording["attempts"]]);
        assert_eq!(said, json!(["failed", "storage", 3]), "{recording}");
        assert_eq!(origin.count(&format!("/{number}")), 3);
        let text = recording["last_error"].as_str().unwrap();
        assert!(!text.contains('/'), "it doesn't say where the recordings are: {text}");
    }
    let staged = std::fs::read_dir(recordings.join(".staging")).unwrap().count();
    assert_eq!(staged, 0, "nothing is left lying about");

    std::fs::remove_file(recordings.join(&year)).unwrap();
    assert_eq!(site.dead_letters(&["retry", "--all"]).await.len(), ids.len());
    for id in ids {
        site.stored(id).await;
    }
    site.stop().await;
}
