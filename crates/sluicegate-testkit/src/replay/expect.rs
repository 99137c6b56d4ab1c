//! What a peer answered, step by step, as types. Fields that begin with `ref_` are values of the peer's code that its
//! test does not assert; where we have the same thing to show, it is compared all the same.

#![expect(missing_docs, reason = "the fields' names are the file's, and its schema explains them")]

use serde::Deserialize;

/// Of [`Step::New`](super::facts::Step::New).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    pub error: NewError,
    /// The peer's words. Compared as far as they tell what was wrong.
    pub message: String,
}

/// Why a limiter can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewError {
    InvalidConfig,
}

/// Of [`Step::Rate`](super::facts::Step::Rate).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub rate: f64,
    /// None: to the last digit.
    pub rel_tol: Option<f64>,
    pub emission_interval_ns: Option<u64>,
    /// Not compared: ours is smooth, and has no quantum.
    pub ref_quantum: Option<u64>,
    /// Not compared, as the quantum.
    pub ref_fill_interval_ns: Option<u64>,
}

/// Of [`Step::CheckRateSweep`](super::facts::Step::CheckRateSweep).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    pub rel_tol: f64,
    pub all_pass: bool,
    pub count: u64,
}

/// Of [`Step::Available`](super::facts::Step::Available).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Available {
    pub available: i64,
}

/// Of [`Step::Allow`](super::facts::Step::Allow). `ok` is one peer's word, `allowed` (a number of tokens) another's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    pub ok: Option<bool>,
    pub allowed: Option<u64>,
    /// Whole tokens right before.
    pub tokens_before: Option<u64>,
    /// Whole tokens right after.
    pub remaining: Option<u64>,
    pub error: Option<AllowError>,
    /// The limit that was exceeded, beside `error`.
    pub capacity: Option<u64>,
    /// -1 for what was allowed.
    pub retry_after_ns: Option<i64>,
    pub reset_after_ns: Option<u64>,
    /// Of the two above: upstream runs on a real clock.
    pub tol_ns: Option<u64>,
    pub ref_retry_after_ns: Option<u64>,
}

/// Why tokens are refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowError {
    ExceedsBurst,
}

/// Of [`Step::AllowAlternating`](super::facts::Step::AllowAlternating).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternating {
    pub ok_count: u64,
}

/// Of [`Step::TakeAvailable`](super::facts::Step::TakeAvailable). `taken` is one peer's word, `allowed` another's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeAvailable {
    pub taken: Option<u64>,
    pub allowed: Option<u64>,
    pub remaining: Option<u64>,
    /// -1 where something was taken; else the time to the next token.
    pub retry_after_ns: Option<i64>,
    pub reset_after_ns: Option<u64>,
    /// Of the two above: upstream runs on a real clock.
    pub tol_ns: Option<u64>,
}

/// Of [`Step::TakeAvailableEvery`](super::facts::Step::TakeAvailableEvery).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// What the callers were told they have.
    pub granted_total: u64,
    /// What is gone from the bucket.
    pub debited_total: f64,
}

/// Of [`Step::Take`](super::facts::Step::Take).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    pub ok: bool,
    /// 0 for what was refused.
    pub wait_ns: i64,
    /// With `rel_tol`, what upstream asserts; `wait_ns` is then what its code gives.
    pub expected_ns_float: Option<f64>,
    pub rel_tol: Option<f64>,
}

/// Of [`Step::Reserve`](super::facts::Step::Reserve).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    pub ok: bool,
    pub act_at_ns: u64,
    pub tol_ns: u64,
    /// What the peer's code gives.
    pub ref_act_at_ns: u64,
}

/// Of [`Step::Cancel`](super::facts::Step::Cancel).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// What comes back of it.
    pub ref_tokens_restored: f64,
}

/// Of [`Step::ReserveManyThenCancelReverse`](super::facts::Step::ReserveManyThenCancelReverse).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterCancels {
    pub tokens_after: f64,
    pub next_allow_ok: bool,
}

/// Of [`Step::Wait`](super::facts::Step::Wait).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    pub ok: bool,
    pub delay_ns: u64,
    /// Not compared: what upstream's real clock is allowed. On a virtual clock the delay is exact.
    pub delay_max_ns: Option<u64>,
}

/// Of [`Step::WaitSequential`](super::facts::Step::WaitSequential) and
/// [`Step::WaitShared`](super::facts::Step::WaitShared).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// From the first question to the last answer.
    pub total_delay_ns: u64,
}

/// Of [`Step::WaitStart`](super::facts::Step::WaitStart).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    pub pending: bool,
}

/// Of [`Step::ReleasedCount`](super::facts::Step::ReleasedCount).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    pub count: u64,
    /// How much later it is counted: upstream runs on a real clock.
    pub within_ns: u64,
}
