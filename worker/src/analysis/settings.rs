//! The settings of the analyzer: one line each for flag, variable, default and help.

use callvine_shared::switch::on_or_off;

/// Most analyses at once; each is a process that computes, so more than there are processors bring nothing.
const CONCURRENCY_MAX: usize = 256;

/// How recordings are analysed: flags, each with an environment variable and a default.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Analysis")]
#[group(id = "analyzer-settings")]
pub struct Settings {
    /// Channel of a two-channel recording in which the agent speaks
    #[arg(long, env = "CALLVINE_AGENT_CHANNEL", value_name = "left|right", default_value = "left")]
    pub agent_channel: AgentChannel,

    /// Recordings analysed at once by one analyzer [default: one for each processor]
    #[arg(long, env = "CALLVINE_ANALYZER_CONCURRENCY", value_name = "N", value_parser = concurrency)]
    pub analyzer_concurrency: Option<usize>,

    /// Whether results name the digits that were keyed in; people key in card numbers
    #[arg(
        long,
        env = "CALLVINE_KEEP_DIGITS",
        value_name = "on|off",
        default_value = "off",
        value_parser = on_or_off,
        action = clap::ArgAction::Set
    )]
    pub keep_digits: bool,
}

impl Settings {
    /// Recordings analysed at once.
    pub(super) fn concurrency(&self) -> usize {
        self.analyzer_concurrency
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .min(CONCURRENCY_MAX)
    }
}

/// A channel of a recording that has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AgentChannel {
    /// The first.
    Left,
    /// The second.
    Right,
}

impl AgentChannel {
    pub(super) fn index(self) -> u8 {
        match self {
            Self::Left => 0,
            Self::Right => 1,
        }
    }
}

fn concurrency(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=CONCURRENCY_MAX).contains(count));
    count.ok_or(format!("must be a whole number from 1 to {CONCURRENCY_MAX}"))
}
