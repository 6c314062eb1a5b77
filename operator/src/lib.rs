//! What an operator does, without terminal or page: commands print what comes of it, and a page can show the same.
//!
//! - [`audit`]: whether tables, queues and stored objects agree, and a repair of what can be repaired
//! - [`dead_letters`]: what was given up, and another attempt
//! - [`keys`]: API keys
//!
//! Results are values, or go to a function that the caller gives, one at a time: so memory is bounded whatever there is.
//! Errors name what failed and what to do; nothing here prints.

pub mod audit;
pub mod dead_letters;
pub mod keys;
mod pages;
mod requeue;

#[cfg(test)]
mod tests {
    use callvine_shared::bus::Queues;
    use callvine_shared::store::{DeadLetterId, DeadLetterKind, Store};

    use super::*;

    fn spawned(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        tokio::spawn(work)
    }

    /// Compiles only if a server can do all of it beside its other work.
    #[tokio::test]
    async fn a_server_can_spawn_it() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/callvine.db", directory.path().display());
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let work = spawned(async move {
            let queues = Queues::new(None, &store);
            let letters = dead_letters::DeadLetters::new(store.clone(), queues.clone());
            let id: DeadLetterId = "r17".parse().unwrap();
            assert!(letters.show(id).await.is_err());
            assert!(letters.unread(DeadLetterKind::Recording, 0).await.unwrap().letters.is_empty());
            let mut told = Vec::new();
            let these = dead_letters::Selection::These(vec![id]);
            let mut sink = |id, retried| {
                told.push((id, retried));
                Ok(())
            };
            let retry = letters.retry(these, &mut sink).await.unwrap();
            assert_eq!((retry.queued, retry.unknown, told.len()), (0, 1, 1));
            let plan = audit::Plan {
                window: callvine_shared::store::Window {
                    from: chrono::DateTime::UNIX_EPOCH,
                    to: chrono::Utc::now(),
                },
                store,
                queues,
                objects: None,
                stuck_after: std::time::Duration::ZERO,
                deep: false,
                repair: false,
            };
            assert_eq!(audit::run(plan, &mut |_| Ok(())).await.unwrap().problems, 0);
        });
        work.await.unwrap();
    }
}
