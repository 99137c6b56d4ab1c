//! The facts file as types: what a peer's limiter was, what it was asked when, and what it answered.
//!
//! Every field that the file has is named here, and a name that is not here is an error: nothing in the file is left
//! out of a replay by oversight. Some fields tell a reader something and are not compared; each says so.

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ReplayError;
use super::expect;

/// The version of the file's form that is understood here.
const VERSION: u64 = 1;

/// A facts file.
///
/// ```
/// use sluicegate_testkit::replay::Facts;
///
/// let facts = Facts::parse(r#"{"schema": {"schema_version": 1}, "cases": []}"#)?;
/// assert!(facts.cases.is_empty());
/// assert!(Facts::parse(r#"{"schema": {"schema_version": 2}, "cases": []}"#).is_err());
/// # Ok::<(), sluicegate_testkit::replay::ReplayError>(())
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// About the file.
    pub schema: Schema,
    /// What was found, one test of a peer a case.
    pub cases: Vec<Case>,
}

impl Facts {
    /// Reads the text of a facts file. Whole numbers are read as 64 bits, since some exceed 2^53.
    ///
    /// # Errors
    /// If it isn't JSON, has another version, or holds a limiter, an operation or a field that isn't known here.
    pub fn parse(text: &str) -> Result<Self, ReplayError> {
        let facts: Self = serde_json::from_str(text).map_err(ReplayError::Facts)?;
        match facts.schema.schema_version {
            VERSION => Ok(facts),
            version => Err(ReplayError::Version { version, known: VERSION }),
        }
    }
}

/// What the file says about itself. All but the version is prose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The version of the file's form.
    pub schema_version: u64,
    #[serde(default, rename = "what")]
    _what: IgnoredAny,
    #[serde(default, rename = "case")]
    _case: IgnoredAny,
    #[serde(default, rename = "setup_limiters")]
    _setup_limiters: IgnoredAny,
    #[serde(default, rename = "ops")]
    _ops: IgnoredAny,
    #[serde(default, rename = "expect_prefix")]
    _expect_prefix: IgnoredAny,
}

/// One test of a peer: steps in their order on one new limiter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The peer, its commit and its file.
    pub source: String,
    /// The test's name there. Several cases can bear one name.
    pub test: String,
    /// Who says so.
    pub origin: Origin,
    /// For the reader.
    pub note: Option<String>,
    /// For the reader: what is wrong with what the peer does.
    pub why: Option<String>,
    /// The limiter.
    pub setup: Setup,
    /// What it is asked.
    pub steps: Vec<Step>,
}

/// Who says what a case says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The peer's test asserts it.
    Test,
    /// The peer's test would, but is never run there.
    TestNotRunUpstream,
    /// No test of the peer does: it was computed from the peer's code.
    DerivedQuirk,
}

/// A peer's limiter, as it was made.
#[derive(Debug, Deserialize)]
#[serde(tag = "limiter", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields' names are the file's, and its schema explains them")]
pub enum Setup {
    /// `quantum` tokens at each whole multiple of an interval. Signed: peers test that nonsense is refused.
    TickBucket { fill_interval_ns: i64, capacity: i64, quantum: i64, initial: Option<u64> },
    /// The same, but the peer chooses quantum and interval to fit a rate within 1 %; or one such after the other.
    TickBucketFromRate {
        rate: Option<f64>,
        rate_sweep: Option<RateSweep>,
        capacity: u64,
        initial: Option<u64>,
    },
    /// Continuous refill of `limit` tokens a second.
    FloatBucket { limit: f64, burst: u64, initial: u64 },
    /// One cell an interval.
    Gcra { emission_interval_ns: u64, burst: u64 },
    /// The same, the interval being chosen by the peer.
    GcraPerSecond { per_second: u64 },
    /// A script in a store: `rate` tokens a period, continuously.
    RedisGcra { rate: u64, period_ns: u64, burst: u64 },
    /// `refill` tokens each interval. `fair`: whether who waits is served first come, first served, as by ours; true unless
    /// it is said.
    IntervalBucket { refill: u64, interval_ns: u64, initial: u64, max: u64, fair: Option<bool> },
}

/// Whole rates, tokens a second, each for a limiter of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSweep {
    /// The first.
    pub from: u32,
    /// The end, not included.
    pub to_exclusive: u32,
    /// From one to the next.
    pub step: u32,
}

/// One question. `at_ns` is nanoseconds since the limiter was made, and may be less than in the step before: then the clock
/// steps back. `as` names what is booked or waited for, for a later step's `ref`.
///
/// Informative, and not compared: `n_formula` (how the file's author came to `n`) and `note`.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields' names are the file's, and its schema explains them")]
pub enum Step {
    /// Make the limiter.
    New { at_ns: u64, expect: expect::New },
    /// Tokens a second.
    Rate { at_ns: u64, expect: expect::Rate },
    /// Make a limiter for each of the setup's rates, and ask each three things.
    CheckRateSweep { at_ns: u64, expect: expect::Sweep },
    /// Tokens there are.
    #[serde(alias = "tokens")]
    Available { at_ns: u64, expect: expect::Available },
    /// All of `n` now, or none.
    Allow { at_ns: u64, n: u64, expect: expect::Allow },
    /// The same at two instants by turns.
    AllowAlternating { at_ns: [u64; 2], n: u64, pairs: u64, expect: expect::Alternating },
    /// As many as there are now, up to `n`.
    TakeAvailable { at_ns: u64, n: u64, expect: expect::TakeAvailable },
    /// The same `calls` times, the first `step_ns` after the step before.
    TakeAvailableEvery { step_ns: u64, n: u64, calls: u64, expect: expect::Every },
    /// All of `n`, and say how long to sleep for them.
    Take { at_ns: u64, n: u64, max_wait_ns: Option<u64>, n_formula: Option<String>, expect: expect::Take },
    /// The same, as something that can be cancelled.
    Reserve { at_ns: u64, n: u64, r#as: Option<String>, expect: expect::Reserve },
    /// Give a reservation back.
    Cancel { at_ns: u64, r#ref: String, note: Option<String>, expect: expect::Cancel },
    /// Reserve `count` times, then cancel them all, the last first.
    ReserveManyThenCancelReverse { at_ns: u64, n: u64, count: u64, expect: expect::AfterCancels },
    /// Sleep until `n` are there.
    Wait { at_ns: u64, n: u64, expect: expect::Wait },
    /// The same `count` times, one after the other.
    WaitSequential { at_ns: u64, n: u64, count: u64, expect: expect::Total },
    /// The same `total` times, by so many callers at once.
    WaitShared { at_ns: u64, n: u64, callers: NonZeroUsize, total: u64, expect: expect::Total },
    /// Begin to wait.
    WaitStart { at_ns: u64, n: u64, r#as: Option<String>, expect: expect::Pending },
    /// Begin to wait `count` times.
    WaitStartMany { at_ns: u64, n: u64, count: u64, expect: expect::Pending },
    /// Stop waiting.
    WaitDrop { at_ns: u64, r#ref: String },
    /// How many that ever began to wait have what they waited for.
    ReleasedCount { at_ns: u64, expect: expect::Released },
}
