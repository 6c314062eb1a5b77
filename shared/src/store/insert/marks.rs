//! Marked calls of a batch: which of them the database is asked to store, and the outcome of each.

use std::collections::{HashMap, HashSet};

use chrono::DateTime;

use super::batch::{Outcome, ReceivedCall};
use crate::call::CallId;
use crate::idempotency::{Mark, Sha256Bytes};
use crate::store::StoreError;

/// The calls of a batch without those whose mark an earlier call of the batch has: no statement could store both.
pub(super) fn firsts(received: &[ReceivedCall]) -> Vec<&ReceivedCall> {
    let mut seen = HashSet::with_capacity(received.len());
    received.iter().filter(|call| call.mark.as_ref().is_none_or(|mark| seen.insert(mark.mark))).collect()
}

/// The call that a mark stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) call_id: CallId,
    pub(super) body_sha256: Option<Sha256Bytes>,
    pub(super) received_at_us: i64,
}

impl Holder {
    /// The outcome of a later post with this mark.
    fn outcome(&self, mark: &Mark) -> Outcome {
        match DateTime::from_timestamp(self.received_at_us.div_euclid(1_000_000), 0) {
            Some(created_at) if self.body_sha256 == mark.body_sha256 => {
                Outcome::Same { id: self.call_id, created_at }
            }
            _ => Outcome::Conflict,
        }
    }
}

/// The marks of a batch that stand for calls of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Held(HashMap<Sha256Bytes, Holder>);

impl Held {
    pub(super) fn insert(&mut self, mark: Sha256Bytes, holder: Holder) {
        self.0.insert(mark, holder);
    }

    /// Whether this call's mark stands for an earlier call.
    pub(super) fn has(&self, call: &ReceivedCall) -> bool {
        call.mark.as_ref().is_some_and(|mark| self.0.contains_key(&mark.mark))
    }

    /// The outcome of each call of a batch, of which `new_ids` were stored: its [`firsts`] whose marks are not held, in
    /// their order.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when there are too few ids, which is a bug.
    pub(super) fn outcomes(
        mut self,
        received: &[ReceivedCall],
        new_ids: impl IntoIterator<Item = CallId>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut new_ids = new_ids.into_iter();
        let mut next_id = || new_ids.next().ok_or(StoreError::Mismatch(sqlx::Error::RowNotFound));
        let mut outcomes = Vec::with_capacity(received.len());
        for call in received {
            outcomes.push(match &call.mark {
                None => Outcome::New(next_id()?),
                Some(mark) => match self.0.get(&mark.mark) {
                    Some(holder) => holder.outcome(mark),
                    None => {
                        let call_id = next_id()?;
                        let received_at_us = mark.received_at.timestamp_micros();
                        let body_sha256 = mark.body_sha256;
                        self.0.insert(mark.mark, Holder { call_id, body_sha256, received_at_us });
                        Outcome::New(call_id)
                    }
                },
            });
        }
        Ok(outcomes)
    }
}

/// A hash as a column holds it.
///
/// # Errors
/// [`StoreError::Mismatch`] when it has not 32 bytes.
pub(super) fn sha256(bytes: &[u8]) -> Result<Sha256Bytes, StoreError> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("a mark is no SHA-256".into()).into())
}
