//! The shipped analyzer: every stored recording is analysed once, whatever ends in between, and what can't be is given up with
//! its reason.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::{StreamExt, stream};
use harness::{Answer, Origin, Provider, Subscriber, TEST_KEY};
use serde_json::{Value, json};

use crate::recordings::{PATIENCE, Recorded};
use crate::site::{Engine, Site, on_both_engines};

on_both_engines!(
    recordings_are_analysed_and_their_faults_are_named,
    a_recording_that_is_gone_fails_and_is_analysed_when_it_is_back,
    an_analyzer_that_is_killed_again_and_again_analyses_each_recording_once,
);

const ANALYSED: (&str, &str) = ("CALLVINE_ANALYSIS", "on");

/// How often the analyzer is killed.
const KILLS: usize = 10;

fn demo(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo/recordings").join(name);
    std::fs::read(path).unwrap()
}

/// The analysis as `GET /calls/ID` shows it, when it is settled.
async fn settled(site: &Site, id: i64) -> Value {
    harness::obtained(PATIENCE, "the analysis is settled", async || {
        let analysis = site.call(id).await["analyses"][0].clone();
        (analysis["status"] == "completed" || analysis["status"] == "failed").then_some(analysis)
    })
    .await
}

async fn recordings_are_analysed_and_their_faults_are_named(engine: Engine) {
    let origin = Origin::start().await;
    let site = engine.up(&[ANALYSED]).await;
    let names = ["billing-double-charge.wav", "clinic-one-way.wav", "router-offline.wav"];
    let urls = names.map(|name| origin.serve(&format!("/{name}"), Answer::wav(demo(name))));
    let ids = site.post(&urls).await;
    let mut analyses = Vec::new();
    for id in &ids {
        analyses.push(settled(&site, *id).await);
    }
    for analysis in &analyses {
        assert_eq!(
            (&analysis["status"], &analysis["attempts"]),
            (&json!("completed"), &json!(1)),
            "{analysis}"
        );
        assert_eq!(analysis["results"]["schema"], "callvine.results/1");
    }
    let flags = |number: usize| analyses[number]["results"]["flags"].to_string();
    assert!(!flags(0).contains("one_way_audio") && !flags(0).contains("long_dead_air"), "{}", flags(0));
    assert!(flags(1).contains("one_way_audio"), "{}", flags(1));
    assert!(flags(2).contains("long_dead_air"), "{}", flags(2));
    let both = &analyses[0]["results"]["channels"];
    assert_eq!((&both[0]["role"], &both[1]["role"]), (&json!("agent"), &json!("caller")));
    let call = site.call(ids[0]).await;
    assert_eq!(
        (&call["analysis"]["status"], &call["analysis"]["analyzer"]),
        (&json!("completed"), &json!("quality"))
    );
    assert_eq!(call["analysis"]["results"], analyses[0]["results"]);
    site.stop().await;
}

async fn a_recording_that_is_gone_fails_and_is_analysed_when_it_is_back(engine: Engine) {
    let origin = Origin::start().await;
    let url = origin.serve("/call.wav", Answer::wav(demo("opening-hours.wav")));
    let site = engine.up(&[]).await;
    let id = site.post(&[url]).await[0];
    let location = site.stored(id).await["location"].as_str().unwrap().to_owned();
    let path = url::Url::parse(&location).unwrap().to_file_path().unwrap();
    let hidden = path.with_extension("hidden");
    std::fs::rename(&path, &hidden).unwrap();

    let site = site.stop().await.up(&[ANALYSED]).await;
    let analysis = settled(&site, id).await;
    assert_eq!(
        (&analysis["status"], &analysis["reason"]),
        (&json!("failed"), &json!("missing")),
        "{analysis}"
    );
    let letters = site.dead_letters(&["list"]).await;
    assert_eq!((letters.len(), &letters[0]["kind"]), (1, &json!("analysis")), "{letters:?}");
    assert_eq!(letters[0]["id"], format!("a{id}"));

    std::fs::rename(&hidden, &path).unwrap();
    site.dead_letters(&["retry", "--all"]).await;
    harness::eventually(PATIENCE, "it is analysed after all", async || {
        site.call(id).await["analysis"]["status"] == "completed"
    })
    .await;
    assert!(site.dead_letters(&["list"]).await.is_empty());
    site.stop().await;
}

async fn an_analyzer_that_is_killed_again_and_again_analyses_each_recording_once(engine: Engine) {
    let recorded = Recorded::serve().await;
    let subscriber = match engine.amqp_url() {
        Some(url) => Some(Subscriber::start(url).await),
        None => None,
    };
    let mut site = engine.up(&[ANALYSED]).await;
    let acknowledged = recorded.deliver(&Provider::new(&site.url, TEST_KEY)).await;
    for _ in 0..KILLS {
        let before = completed(&site).await;
        // Something is analysed between two kills, until all is.
        harness::eventually(PATIENCE, "an analysis is completed", async || {
            let now = completed(&site).await;
            now > before || now == acknowledged.len()
        })
        .await;
        site = site.kill().up(&[ANALYSED]).await;
    }
    let analyses: Vec<Value> =
        stream::iter(&acknowledged).map(|call| settled(&site, call.id)).buffered(8).collect().await;
    let failed: Vec<&Value> = analyses.iter().filter(|analysis| analysis["status"] != "completed").collect();
    assert!(failed.is_empty(), "{failed:?}");
    if let Some(subscriber) = subscriber {
        let told = || {
            let received = subscriber.received();
            let completed = received.into_iter().filter(|((key, _), _)| key == "analysis.completed");
            completed.map(|((_, id), events)| (id, events.len())).collect::<BTreeSet<_>>()
        };
        harness::eventually(PATIENCE, "every completion is told", async || {
            told().len() >= acknowledged.len()
        })
        .await;
        assert!(told().iter().all(|(_, ids)| *ids == 1), "one event a call: {:?}", told());
    }
    site.stop().await;
}

/// How many analyses are completed.
async fn completed(site: &Site) -> usize {
    let count = site.engine.database().count("from analyses where status = 'completed'").await;
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}
