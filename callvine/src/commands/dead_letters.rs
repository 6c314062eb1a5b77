//! `callvine dead-letters list`, `show` and `retry`: their settings, and what they print.

use anyhow::anyhow;
use callvine_operator::dead_letters::{self, DeadLettersError, Retry, Selection, queue_of};
use callvine_shared::bus::Queues;
use callvine_shared::call::CallId;
use callvine_shared::store::{DeadLetter, DeadLetterId, DeadLetterKind, Retried, Store};
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;

use crate::args::{BrokerAddress, Database};
use crate::failure::Failure;
use crate::process;
use crate::terminal::{self, OutputError};

/// Rows of one table; the next begins below it, so that memory is bounded however many there are.
const TABLE_ROWS: usize = 1000;

#[derive(Subcommand, Debug)]
pub(crate) enum DeadLetters {
    /// Lists all of them, recordings first, each by its call's id
    ///
    /// Also what is still pending, but whose message no consumer could deal with; that has no time of failing.
    List(List),
    /// Shows one
    Show(Show),
    /// Has some or all attempted again, from the step that failed and with as many attempts as a new one
    ///
    /// The running system does it within seconds. A second failure is an event of its own. Exit code 1: there is no
    /// recording or analysis of this ID; what isn't given up is named and left alone.
    Retry(RetryThem),
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// As `dead-letters list` shows it: r17 is the recording of call 17, a17 its analysis
    id: DeadLetterId,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

#[derive(Args, Debug)]
pub(crate) struct RetryThem {
    /// As `dead-letters list` shows them: r17 is the recording of call 17, a17 its analysis
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<DeadLetterId>,
    /// All of them, and the messages in the dead-letter queues that no consumer could deal with
    #[arg(long)]
    all: bool,
    /// One JSON object a line: each ID and what became of it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    location: Location,
}

/// Where dead letters are.
#[derive(Args, Debug)]
struct Location {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    broker: BrokerAddress,
}

impl Location {
    /// The dead letters, and their database to be closed in the end.
    async fn open(&self) -> Result<(dead_letters::DeadLetters, Store), Failure> {
        let (database, broker) = (self.database.url()?, self.broker.url()?);
        let store = process::open_existing(&database).await?;
        Ok((dead_letters::DeadLetters::new(store.clone(), Queues::new(broker, &store)), store))
    }
}

/// Carries out one of the dead letters' commands.
pub(crate) async fn run(letters: DeadLetters) -> Result<(), Failure> {
    match letters {
        DeadLetters::List(list) => list_letters(&list).await,
        DeadLetters::Show(show) => show_letter(&show).await,
        DeadLetters::Retry(retry) => retry_letters(retry).await,
    }
}

fn failure(error: DeadLettersError) -> Failure {
    match error {
        DeadLettersError::Sink(error) => OutputError::from(error).into(),
        error => anyhow::Error::new(error).into(),
    }
}

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

async fn list_letters(list: &List) -> Result<(), Failure> {
    let (letters, store) = list.location.open().await?;
    let mut is_empty = true;
    for kind in dead_letters::DeadLetters::KINDS {
        let mut count = 0;
        let mut pages = letters.pages(kind, CallId(0));
        while let Some(page) = pages.next().await.map_err(failure)? {
            count += page.len();
            print_page(&page, list.json)?;
        }
        let unread = unread_letters(&letters, kind, count).await?;
        print_page(&unread, list.json)?;
        is_empty &= count + unread.len() == 0;
    }
    store.close().await;
    if is_empty && !list.json {
        terminal::note("nothing is given up")?;
    }
    Ok(())
}

/// The messages that no consumer could deal with; none, said on standard error, when the broker can't be asked.
async fn unread_letters(
    letters: &dead_letters::DeadLetters,
    kind: DeadLetterKind,
    listed: usize,
) -> Result<Vec<DeadLetter>, Failure> {
    let queue = queue_of(kind).name();
    let unread = match letters.unread(kind, u64::try_from(listed).unwrap_or(u64::MAX)).await {
        Ok(unread) => unread,
        Err(error @ DeadLettersError::Queues(_)) => {
            let error = anyhow::Error::new(error);
            terminal::note(format_args!("what else {queue} holds is not known: {error:#}"))?;
            return Ok(Vec::new());
        }
        Err(error) => return Err(failure(error)),
    };
    if unread.foreign > 0 {
        let count = unread.foreign;
        terminal::note(format_args!(
            "{queue} holds {count} that are none of Callvine's events, for a person to look at"
        ))?;
    }
    Ok(unread.letters)
}

fn print_page(letters: &[DeadLetter], json: bool) -> Result<(), OutputError> {
    if json {
        return letters.iter().try_for_each(|letter| terminal::json(&Line::new(letter)));
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
        terminal::line(table)?;
    }
    Ok(())
}

async fn show_letter(show: &Show) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        line: Line<'a>,
        recording_url: &'a str,
    }
    let (letters, store) = show.location.open().await?;
    let letter = letters.show(show.id).await;
    store.close().await;
    let letter = letter.map_err(failure)?;
    let whole = Whole { line: Line::new(&letter), recording_url: &letter.recording_url };
    if show.json {
        return Ok(terminal::json(&whole)?);
    }
    let Line { id, kind, call_id, reason, attempts, last_error, failed_at } = whole.line;
    terminal::line(format_args!("id             {id}"))?;
    terminal::line(format_args!("kind           {kind}"))?;
    terminal::line(format_args!("call           {call_id}"))?;
    terminal::line(format_args!("recording_url  {}", whole.recording_url))?;
    terminal::line(format_args!("reason         {}", reason.unwrap_or("-")))?;
    terminal::line(format_args!("attempts       {attempts}"))?;
    terminal::line(format_args!("failed_at      {}", failed_at.as_deref().unwrap_or("-")))?;
    terminal::line(format_args!("last_error     {}", last_error.unwrap_or("-")))?;
    Ok(())
}

async fn retry_letters(retry: RetryThem) -> Result<(), Failure> {
    let (letters, store) = retry.location.open().await?;
    let selection = if retry.all { Selection::All } else { Selection::These(retry.ids) };
    let mut print = |id, retried| Ok(print_retried(id, retried, retry.json)?);
    let Retry { queued, unknown, unswept } = letters.retry(selection, &mut print).await.map_err(failure)?;
    store.close().await;
    if let Some(error) = unswept {
        // The retry itself is done; a message too many in a dead-letter queue does no harm.
        let error = anyhow::Error::new(error);
        terminal::note(format_args!("the dead-letter queues still hold what was queued again: {error:#}"))?;
    }
    if !retry.json {
        terminal::line(format_args!("{queued} queued again"))?;
    }
    match unknown {
        0 => Ok(()),
        _ => Err(anyhow!("{unknown} of the IDs name nothing (see `callvine dead-letters list`)").into()),
    }
}

fn print_retried(id: DeadLetterId, retried: Retried, json: bool) -> Result<(), OutputError> {
    #[derive(Serialize)]
    struct Outcome {
        id: String,
        result: &'static str,
    }
    let (result, said) = match retried {
        Retried::Queued => ("queued", None),
        Retried::NotFailed => ("not_failed", Some("is not given up: nothing was done")),
        Retried::Unknown => ("unknown", Some("names no recording or analysis")),
    };
    match said {
        _ if json => terminal::json(&Outcome { id: id.to_string(), result }),
        Some(said) => terminal::line(format_args!("{id} {said}")),
        None => Ok(()),
    }
}
