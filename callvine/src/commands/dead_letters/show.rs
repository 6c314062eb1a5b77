//! What is shown of dead letters.

use anyhow::anyhow;
use callvine_shared::bus::{self, BusError};
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::store::{DeadLetter, DeadLetterKind, Store};
use chrono::SecondsFormat;
use comfy_table::Table;
use serde::Serialize;

use super::{amqp_url, open, page, print, unread, warn};
use crate::args::{ListDeadLetters, ShowDeadLetter};
use crate::failure::Failure;
use crate::process;

/// Rows of one table; the next begins below it, so that memory is bounded however many there are.
const TABLE_ROWS: usize = 1000;

/// What is said of what nobody gave up, but whose message ended in a dead-letter queue.
const NO_CONSUMER: &str = "no consumer could deal with its message";

#[derive(Serialize)]
struct Line<'a> {
    id: String,
    kind: &'static str,
    call_id: i64,
    reason: Option<&'a str>,
    attempts: i32,
    last_error: Option<&'a str>,
    failed_at: Option<String>,
}

impl<'a> Line<'a> {
    fn new(letter: &'a DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            kind: letter.id.kind.name(),
            call_id: letter.id.call_id.0,
            reason: letter.reason.as_deref(),
            attempts: letter.attempts,
            last_error: letter.last_error.as_deref(),
            failed_at: letter.failed_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        }
    }
}

/// `dead-letters list`.
pub(super) async fn list(list: &ListDeadLetters) -> Result<(), Failure> {
    let store = open(&list.places).await?;
    let amqp_url = amqp_url(&list.places);
    let mut is_empty = true;
    for (kind, queue) in
        [(DeadLetterKind::Recording, Queue::RecordingsDead), (DeadLetterKind::Analysis, Queue::AnalysisDead)]
    {
        let mut count = 0;
        let mut last = CallId(0);
        loop {
            let letters = page(&store, kind, last).await?;
            let Some(end) = letters.last() else { break };
            last = end.id.call_id;
            count += letters.len();
            print_page(&letters, list.json)?;
        }
        let held = messages_in(&store, amqp_url, queue).await?;
        // Most often there is one for each; then nobody looks at them.
        if held > u64::try_from(count).unwrap_or(u64::MAX) {
            let letters = unread_in(&store, amqp_url, queue).await?;
            count += letters.len();
            if !letters.is_empty() {
                print_page(&letters, list.json)?;
            }
        }
        is_empty &= count == 0;
    }
    store.close().await;
    if is_empty && !list.json {
        warn("nothing is given up")?;
    }
    Ok(())
}

/// What no consumer could deal with; none, said on standard error, when the broker can't be asked.
async fn unread_in(store: &Store, amqp_url: Option<&str>, queue: Queue) -> Result<Vec<DeadLetter>, Failure> {
    let name = queue.name();
    let unread = match unread::look_through(store, amqp_url, queue).await {
        Ok(unread) => unread,
        Err(error) => {
            let error = anyhow::Error::new(error);
            warn(&format!("what else {name} holds is not known: {error:#}"))?;
            return Ok(Vec::new());
        }
    };
    if unread.foreign > 0 {
        let count = unread.foreign;
        warn(&format!("{name} holds {count} that are none of Callvine's events, for a person to look at"))?;
    }
    let explained = unread.letters.into_iter().map(|letter| {
        let last_error = letter.last_error.unwrap_or_else(|| NO_CONSUMER.to_owned());
        DeadLetter { last_error: Some(last_error), ..letter }
    });
    Ok(explained.collect())
}

#[expect(clippy::print_stdout, reason = "what the command has to say")]
fn print_page(letters: &[DeadLetter], json: bool) -> Result<(), Failure> {
    if json {
        return letters.iter().try_for_each(|letter| print(&Line::new(letter)));
    }
    for letters in letters.chunks(TABLE_ROWS) {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["id", "call", "reason", "attempts", "failed", "last error"]);
        for line in letters.iter().map(Line::new) {
            let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
            table.add_row([
                line.id,
                line.call_id.to_string(),
                or_dash(line.reason),
                line.attempts.to_string(),
                or_dash(line.failed_at.as_deref()),
                or_dash(line.last_error),
            ]);
        }
        println!("{table}");
    }
    Ok(())
}

/// How many messages a dead-letter queue holds; none, said on standard error, when the broker can't be asked.
async fn messages_in(store: &Store, amqp_url: Option<&str>, queue: Queue) -> Result<u64, Failure> {
    let Some(url) = amqp_url else {
        let depth = store.delivery_depth(queue.name()).await.map_err(anyhow::Error::new)?;
        return Ok(u64::try_from(depth).unwrap_or(0));
    };
    match bus::queue_depths(url).await {
        Ok(depths) => {
            let depth = depths.into_iter().find(|(each, _)| *each == queue).and_then(|(_, depth)| depth);
            Ok(depth.map_or(0, |depth| u64::from(depth.ready)))
        }
        Err(error @ BusError::Url) => Err(process::setting_failure(error)),
        Err(error) => {
            let error = anyhow::Error::new(error);
            warn(&format!("what else {} holds is not known: {error:#}", queue.name()))?;
            Ok(0)
        }
    }
}

/// `dead-letters show`.
#[expect(clippy::print_stdout, reason = "what the command has to say")]
pub(super) async fn one(show: &ShowDeadLetter) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        line: Line<'a>,
        recording_url: &'a str,
    }
    let store = open(&show.places).await?;
    let mut letter = store.dead_letter(show.id).await.map_err(anyhow::Error::new)?;
    if letter.is_none() && store.unsettled(show.id).await.map_err(anyhow::Error::new)?.is_some() {
        let queue = match show.id.kind {
            DeadLetterKind::Recording => Queue::RecordingsDead,
            DeadLetterKind::Analysis => Queue::AnalysisDead,
        };
        let unread = unread_in(&store, amqp_url(&show.places), queue).await?;
        letter = unread.into_iter().find(|letter| letter.id == show.id);
    }
    store.close().await;
    let Some(letter) = letter else {
        return Err(anyhow!("there is no dead letter {} (see `callvine dead-letters list`)", show.id).into());
    };
    let whole = Whole { line: Line::new(&letter), recording_url: &letter.recording_url };
    if show.json {
        return print(&whole);
    }
    let Line { id, kind, call_id, reason, attempts, last_error, failed_at } = whole.line;
    println!("id             {id}");
    println!("kind           {kind}");
    println!("call           {call_id}");
    println!("recording_url  {}", whole.recording_url);
    println!("reason         {}", reason.unwrap_or("-"));
    println!("attempts       {attempts}");
    println!("failed_at      {}", failed_at.as_deref().unwrap_or("-"));
    println!("last_error     {}", last_error.unwrap_or("-"));
    Ok(())
}
