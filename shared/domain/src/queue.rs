//! The queues of Callvine, the events that they get, and the messages that go to them.

use std::borrow::Cow;

use crate::event::{ANALYSIS_REQUESTED, CALL_CREATED, Event};

/// Most deliveries of a message; then it goes to its queue's dead letters.
///
/// The limit guards against a message that kills its consumer again and again. Failed attempts at a recording are counted
/// in the database and end much sooner. But each restart of a worker counts here for every message that it held, so the
/// limit must not be small.
pub const DELIVERY_LIMIT: u16 = 100;

/// The queues that get the events of a routing key. `callvine.stream` gets the events of all.
pub const BINDINGS: [(&str, Queue); 2] =
    [(CALL_CREATED, Queue::Recordings), (ANALYSIS_REQUESTED, Queue::Analysis)];

/// The queues of Callvine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Recordings to be fetched.
    Recordings,
    /// Recordings that were given up.
    RecordingsDead,
    /// Recordings to be analyzed.
    Analysis,
    /// Analyses that were given up.
    AnalysisDead,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Recordings, Self::RecordingsDead, Self::Analysis, Self::AnalysisDead];

    /// The published name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recordings => "callvine.recordings",
            Self::RecordingsDead => "callvine.recordings.dead",
            Self::Analysis => "callvine.analysis",
            Self::AnalysisDead => "callvine.analysis.dead",
        }
    }

    /// The queue with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }

    /// The queues that are bound to a routing key.
    pub fn bound_to(routing_key: &str) -> impl Iterator<Item = Self> {
        BINDINGS.into_iter().filter(move |(key, _)| *key == routing_key).map(|(_, queue)| queue)
    }

    /// The queue of its dead letters; `None` for a queue that has dead letters itself.
    #[must_use]
    pub fn dead_letters(self) -> Option<Self> {
        match self {
            Self::Recordings => Some(Self::RecordingsDead),
            Self::Analysis => Some(Self::AnalysisDead),
            Self::RecordingsDead | Self::AnalysisDead => None,
        }
    }
}

/// The name of a queue that a message goes to. Only a newer version of Callvine may know the queue: in a rolling upgrade,
/// an older process publishes such messages too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueName(Cow<'static, str>);

impl QueueName {
    /// The name as it is published.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue, if this version knows it.
    #[must_use]
    pub fn known(&self) -> Option<Queue> {
        Queue::from_name(&self.0)
    }
}

impl From<Queue> for QueueName {
    fn from(queue: Queue) -> Self {
        Self(Cow::Borrowed(queue.name()))
    }
}

impl From<String> for QueueName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event's id.
    pub event_id: String,
    /// The event's routing key.
    pub routing_key: Cow<'static, str>,
    /// The one queue that it goes to; `None`: every queue that is bound to the routing key.
    pub queue: Option<QueueName>,
    /// A CloudEvents JSON object.
    pub body: String,
}

impl From<Event> for Message {
    /// A message to every queue that is bound to the event.
    fn from(event: Event) -> Self {
        Self {
            event_id: event.id.to_string(),
            routing_key: event.routing_key.into(),
            queue: None,
            body: event.body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_is_found_by_its_routing_key() {
        for (routing_key, queue) in BINDINGS {
            assert!(Queue::bound_to(routing_key).any(|bound| bound == queue), "{routing_key}");
        }
        assert_eq!(Queue::bound_to("recording.stored").next(), None);
        assert_eq!(Queue::bound_to("call.created.more").next(), None);
    }

    #[test]
    fn queues_are_found_by_their_names() {
        for queue in Queue::ALL {
            assert_eq!(Queue::from_name(queue.name()), Some(queue));
        }
        assert_eq!(Queue::from_name("callvine.stream"), None);
    }

    #[test]
    fn a_name_that_only_a_newer_version_knows_is_kept_as_it_is() {
        let name = QueueName::from("callvine.transcripts".to_owned());
        assert_eq!((name.as_str(), name.known()), ("callvine.transcripts", None));
        assert_eq!(QueueName::from(Queue::Analysis).known(), Some(Queue::Analysis));
    }
}
