//! What happened to each request, counted as it happens.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use http::StatusCode;

use super::exchange::Answer;
use super::failure::FailureKind;

/// The counts of a running load, from the end of its warm-up on. Latencies are nanoseconds from the intended start to the last byte.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Arrivals released, sent or not.
    pub(super) offered: u64,
    /// Answers by status code.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by kind.
    pub(super) failures: BTreeMap<FailureKind, u64>,
    /// Hoped-for answers within the deadline.
    pub(super) good: Histogram<u64>,
    /// Hoped-for answers, in time or late.
    pub(super) served: Histogram<u64>,
    /// All answers, whatever their status.
    pub(super) answers: Histogram<u64>,
    /// Answers that send the client away: 429, 503, 504.
    pub(super) refusals: Histogram<u64>,
    /// How long after its intended start each arrival was released: the generator's own fault.
    pub(super) lateness: Histogram<u64>,
    /// Answers with a `Retry-After`.
    pub(super) retry_after: u64,
    /// Bytes of bodies received.
    pub(super) bytes: u64,
    /// When the last arrival was released, in nanoseconds from the end of the warm-up.
    pub(super) last_release: u64,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            offered: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            good: histogram(),
            served: histogram(),
            answers: histogram(),
            refusals: histogram(),
            lateness: histogram(),
            retry_after: 0,
            bytes: 0,
            last_release: 0,
        }
    }

    /// An arrival left the schedule at `now`; the warm-up ended at `counted_from`.
    pub(super) fn release(&mut self, counted_from: u64, intended: u64, now: u64) {
        self.offered += 1;
        self.last_release = now.saturating_sub(counted_from);
        self.lateness.saturating_record(now.saturating_sub(intended));
    }

    /// A request meant for `intended` was answered; `deadline` is the span within which that is in time.
    pub(super) fn answer(&mut self, answer: Answer, hoped_for: bool, intended: u64, deadline: u64) {
        let latency = answer.finished.saturating_sub(intended);
        *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
        self.answers.saturating_record(latency);
        if hoped_for {
            self.served.saturating_record(latency);
            if latency <= deadline {
                self.good.saturating_record(latency);
            }
        }
        if is_refusal(answer.status) {
            self.refusals.saturating_record(latency);
        }
        self.retry_after += u64::from(answer.retry_after);
        self.bytes += answer.bytes;
    }

    /// A request got no answer.
    pub(super) fn failure(&mut self, kind: FailureKind) {
        *self.failures.entry(kind).or_default() += 1;
    }

    /// Requests whose fate is known.
    pub(super) fn settled(&self) -> u64 {
        self.answers.len() + self.failures.values().sum::<u64>()
    }
}

/// Whether a status sends the client away for now: too many requests, unavailable, deadline passed.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// From a microsecond to an hour in nanoseconds, to three significant digits; what is longer counts as an hour.
#[expect(clippy::expect_used, reason = "the bounds are constants, and the test below builds one")]
fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    Histogram::new_with_bounds(1_000, HOUR, 3)
        .expect("1 µs, 1 h and 3 digits are bounds a histogram can have")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, finished: u64) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            bytes: 10,
            retry_after: status == 429,
            finished,
        }
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let mut record = Record::new();
        // Released 70 ms late and answered 10 ms after that: the client waited 80 ms.
        record.release(0, 1_000_000_000, 1_070_000_000);
        record.answer(answer(200, 1_080_000_000), true, 1_000_000_000, 100_000_000);
        assert!(record.good.max().abs_diff(80_000_000) < 100_000, "{}", record.good.max());
        assert!(record.lateness.max().abs_diff(70_000_000) < 100_000, "{}", record.lateness.max());
    }

    #[test]
    fn each_answer_is_counted_where_it_belongs() {
        let mut record = Record::new();
        for _ in 0..4 {
            record.release(0, 0, 0);
        }
        record.answer(answer(200, 100), true, 0, 100);
        record.answer(answer(200, 101), true, 0, 100);
        record.answer(answer(429, 1), false, 0, 100);
        record.failure(FailureKind::Timeout);
        assert_eq!((record.good.len(), record.served.len()), (1, 2));
        assert_eq!((record.answers.len(), record.refusals.len()), (3, 1));
        assert_eq!((record.retry_after, record.bytes), (1, 30));
        assert_eq!((record.offered, record.settled()), (4, 4));
        assert_eq!(record.statuses, BTreeMap::from([(200, 2), (429, 1)]));
    }

    #[test]
    fn a_wait_past_the_bounds_is_kept_as_the_longest() {
        let mut record = Record::new();
        record.answer(answer(200, u64::MAX), true, 0, 1);
        assert_eq!(record.served.len(), 1);
    }
}
