//! `callvine dead-letters list`, `show` and `retry`: what was given up, and another try.
//!
//! The tables are the truth about what was given up. The dead-letter queues are what an operator sees in the broker's
//! pages; a retry clears them of what does not hold any more.

mod show;
mod sweep;
mod unread;

use std::io::Write;

use anyhow::Context;
use callvine_shared::store::{DeadLetter, DeadLetterKind, Retried, Store};
use callvine_shared::{bus::BusError, call::CallId};
use chrono::Utc;
use serde::Serialize;

use self::sweep::Sweep;
use crate::args::{DeadLetters, Places, RetryDeadLetters};
use crate::failure::Failure;
use crate::process;

/// Carries out one of the dead letters' commands.
pub(crate) async fn run(letters: DeadLetters) -> Result<(), Failure> {
    match letters {
        DeadLetters::List(list) => show::list(&list).await,
        DeadLetters::Show(one) => show::one(&one).await,
        DeadLetters::Retry(retry) => retry_letters(&retry).await,
    }
}

/// The broker's address, if there is a broker. An empty variable counts as absent.
fn amqp_url(places: &Places) -> Option<&str> {
    places.amqp_url.as_deref().filter(|url| !url.is_empty())
}

async fn open(places: &Places) -> Result<Store, Failure> {
    process::open_existing(&process::url_of(&places.database)).await
}

/// One page of all dead letters, recordings first, after `last`; empty: that was all.
async fn page(store: &Store, kind: DeadLetterKind, last: CallId) -> Result<Vec<DeadLetter>, Failure> {
    Ok(store.dead_letters(kind, last).await.context("cannot read the dead letters")?)
}

/// What became of one ID.
#[derive(Serialize)]
struct Outcome {
    id: String,
    result: &'static str,
}

/// What became of all.
#[derive(Default)]
struct Counts {
    queued: u64,
    unknown: u64,
}

async fn retry_letters(retry: &RetryDeadLetters) -> Result<(), Failure> {
    let store = open(&retry.places).await?;
    let mut sweep = Sweep::new(retry.all);
    let mut counts = Counts::default();
    let mut wanted = Vec::new();
    for id in &retry.ids {
        let retried = store.retry_dead_letter(*id, Utc::now()).await.context("cannot queue it again")?;
        let unsettled = store.unsettled(*id).await.context("cannot read the dead letters")?;
        if retried == Retried::NotFailed && unsettled.is_some() {
            sweep.want(*id);
            wanted.push(*id);
            continue;
        }
        counts.note(&id.to_string(), retried, retry.json)?;
        sweep.note(*id, retried);
    }
    if retry.all {
        for kind in [DeadLetterKind::Recording, DeadLetterKind::Analysis] {
            let mut last = CallId(0);
            loop {
                let letters = page(&store, kind, last).await?;
                let Some(end) = letters.last() else { break };
                last = end.id.call_id;
                for letter in &letters {
                    let retried = store.retry_dead_letter(letter.id, Utc::now()).await;
                    let retried = retried.context("cannot queue it again")?;
                    sweep.note(letter.id, retried);
                    counts.note(&letter.id.to_string(), retried, retry.json)?;
                }
            }
        }
    }
    let revived = match sweep.run(&store, amqp_url(&retry.places)).await {
        Ok(revived) => revived,
        Err(error @ BusError::Url) => return Err(process::setting_failure(error)),
        // What was asked for is done; a message too many in a dead-letter queue does no harm.
        Err(error) => {
            let error = anyhow::Error::new(error);
            warn(&format!("the dead-letter queues still hold what was queued again: {error:#}"))?;
            Vec::new()
        }
    };
    for id in wanted.iter().filter(|id| !revived.contains(id)) {
        counts.note(&id.to_string(), Retried::NotFailed, retry.json)?;
    }
    for id in revived {
        counts.note(&id.to_string(), Retried::Queued, retry.json)?;
    }
    store.close().await;
    if !retry.json {
        line(&format!("{} queued again", counts.queued))?;
    }
    if counts.unknown > 0 {
        return Err(anyhow::anyhow!(
            "{} of the IDs name nothing (see `callvine dead-letters list`)",
            counts.unknown
        )
        .into());
    }
    Ok(())
}

impl Counts {
    fn note(&mut self, id: &str, retried: Retried, json: bool) -> Result<(), Failure> {
        let (result, said) = match retried {
            Retried::Queued => ("queued", None),
            Retried::NotFailed => ("not_failed", Some("is not given up: nothing was done")),
            Retried::Unknown => ("unknown", Some("names no recording or analysis")),
        };
        self.queued += u64::from(retried == Retried::Queued);
        self.unknown += u64::from(retried == Retried::Unknown);
        match said {
            _ if json => print(&Outcome { id: id.to_owned(), result }),
            Some(said) => line(&format!("{id} {said}")),
            None => Ok(()),
        }
    }
}

fn print(object: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(object).context("cannot write JSON")?)
}

/// Not `println!`, which panics when the reader has left.
fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}").context("cannot print")?)
}

fn warn(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr(), "{text}").context("cannot print")?)
}
