//! The memory and the time that a file may take: by its size, never by the numbers in it.

use std::time::Duration;

use super::{Request, Work};

/// Memory for any file: the tables and blocks of every decoder that is known here, several times over.
const MEMORY_BASE_BYTES: u64 = 64 * 1024 * 1024;

/// Memory for each byte of the file: indexes and tags are held as a whole, and take more in memory than in the file.
const MEMORY_PER_BYTE: u64 = 4;

/// Most memory. No index that is accepted is larger than 16 MiB.
pub(super) const MEMORY_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Time for any file: the start of a process and a short recording, on a machine that is twenty times too busy.
const TIME_BASE: Duration = Duration::from_secs(30);

/// Time for each MiB. The slowest decoder here takes a second for that.
const TIME_PER_MIB: Duration = Duration::from_secs(4);

/// Longest time that a proof can be granted. Together with the longest fetch, 25 minutes, it stays below the half hour after
/// which RabbitMQ takes a delivery back.
pub const PROOF_TIMEOUT_MAX: Duration = Duration::from_secs(4 * 60);

/// Time of an analysis for each second of sound. It takes a four-hundredth of a processor's time, on a machine that is twenty
/// times too busy.
const ANALYSIS_TIME_PER_SECOND: f64 = 0.05;

/// Longest time that an analysis can be granted, for eight hours of sound: below the half hour after which RabbitMQ takes a
/// delivery back.
pub const ANALYSIS_TIMEOUT_MAX: Duration = Duration::from_secs(25 * 60);

/// The memory and the time of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) memory_bytes: u64,
    pub(super) time: Duration,
}

impl Budget {
    /// The budget of a file of so many bytes, of which no proof takes longer than `longest`.
    pub(super) fn of(size_bytes: u64, longest: Duration) -> Self {
        let memory = MEMORY_BASE_BYTES.saturating_add(size_bytes.saturating_mul(MEMORY_PER_BYTE));
        let mib = u32::try_from(size_bytes >> 20).unwrap_or(u32::MAX);
        let time = TIME_BASE.saturating_add(TIME_PER_MIB.saturating_mul(mib));
        Self { memory_bytes: memory.min(MEMORY_MAX_BYTES), time: time.min(longest).min(PROOF_TIMEOUT_MAX) }
    }

    /// The budget for analysing a file of so many bytes and seconds.
    pub(super) fn of_analysis(size_bytes: u64, duration_seconds: f64) -> Self {
        let longest = ANALYSIS_TIMEOUT_MAX.as_secs_f64();
        let seconds = (duration_seconds * ANALYSIS_TIME_PER_SECOND).clamp(0.0, longest);
        let proof = Self::of(size_bytes, PROOF_TIMEOUT_MAX);
        let time = proof.time.saturating_add(Duration::from_secs_f64(seconds));
        Self { time: time.min(ANALYSIS_TIMEOUT_MAX), ..proof }
    }

    pub(super) fn request(self, work: Work) -> Request {
        // The kernel counts in seconds. One more leaves it to the deadline to end a proof that only computes.
        Request { work, memory_bytes: self.memory_bytes, processor_seconds: self.time.as_secs() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_grow_with_the_size_and_have_a_cap() {
        let longest = Duration::from_secs(180);
        let budget = |bytes| Budget::of(bytes, longest);
        assert_eq!(budget(0), Budget { memory_bytes: MEMORY_BASE_BYTES, time: TIME_BASE });
        assert_eq!(budget(10 << 20).memory_bytes, MEMORY_BASE_BYTES + (40 << 20));
        assert_eq!(budget(10 << 20).time, Duration::from_secs(70));
        for huge in [1 << 40, u64::MAX] {
            assert_eq!(budget(huge), Budget { memory_bytes: MEMORY_MAX_BYTES, time: longest });
        }
        assert_eq!(Budget::of(u64::MAX, Duration::MAX).time, PROOF_TIMEOUT_MAX);
    }

    #[test]
    fn an_analysis_has_time_by_its_length() {
        assert_eq!(Budget::of_analysis(0, 3600.0).time, TIME_BASE + Duration::from_secs(180));
        for endless in [1e9, f64::INFINITY] {
            assert_eq!(Budget::of_analysis(u64::MAX, endless).time, ANALYSIS_TIMEOUT_MAX);
        }
        assert_eq!(Budget::of_analysis(0, -1.0).time, TIME_BASE);
    }
}
