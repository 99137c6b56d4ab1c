//! What our limiter answers to one kind of question, beside what the peer answered.

use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::quota::{QuotaError, Refill};

use super::check::{Check, Value, is_close};
use super::driver::{Answer, Contradiction, Driver};
use super::expect;

/// The making of a limiter that we refuse, where the peer refuses it as well: also for the same reason?
pub(crate) fn refused(error: &QuotaError, expect: &expect::New) -> Result<Vec<Check>, Contradiction> {
    let expect::New { error: expect::NewError::InvalidConfig, message } = expect;
    let fields = [("fill interval", "interval"), ("capacity", "burst")];
    let Some((_, field)) = fields.iter().find(|(words, _)| message.contains(words)) else {
        return Err(Contradiction(format!("message `{message}`: expected one that names a field")));
    };
    Ok(vec![
        Check::exact("error", "invalid_config", "invalid_config"),
        Check::exact("message", *field, error.field()),
    ])
}

pub(crate) fn rate(driver: &Driver, expect: &expect::Rate) -> Vec<Check> {
    let (peer, ours) = (expect.rate, driver.bucket.rate());
    let agrees = is_close(peer, ours, expect.rel_tol.unwrap_or(0.0));
    let mut checks = vec![Check { field: "rate", peer: peer.into(), ours: ours.into(), agrees }];
    if let Some(interval) = expect.emission_interval_ns {
        checks.push(Check::exact("emission_interval_ns", interval, emission_interval(driver)));
    }
    checks
}

pub(crate) fn available(driver: &Driver, expect: &expect::Available) -> Vec<Check> {
    vec![Check::exact("available", expect.available, driver.bucket.balance())]
}

/// Nanoseconds from a token to the next, which need not be a whole number.
fn emission_interval(driver: &Driver) -> Value {
    match driver.bucket.quota().refill() {
        Refill::Smooth { tokens, interval } if interval.get() % tokens == 0 => {
            (interval.get() / tokens).into()
        }
        Refill::Smooth { .. } => (1e9 / driver.bucket.rate()).into(),
        _ => Value::NEVER.into(),
    }
}

pub(crate) fn allow_alternating(
    driver: &mut Driver,
    instants: [u64; 2],
    n: u64,
    pairs: u64,
    expect: &expect::Alternating,
) -> Vec<Check> {
    let mut granted = 0_u64;
    for _ in 0..pairs {
        for now in instants {
            granted += u64::from(driver.at(now).try_take(n).is_granted());
        }
    }
    vec![Check::exact("ok_count", expect.ok_count, granted)]
}

pub(crate) fn allow(driver: &Driver, n: u64, expect: &expect::Allow) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(tokens) = expect.tokens_before {
        checks.push(Check::exact("tokens_before", tokens, driver.bucket.available()));
    }
    let decision = driver.try_take(n);
    if let Some(ok) = expect.ok {
        checks.push(Check::exact("ok", ok, decision.is_granted()));
    }
    if let Some(allowed) = expect.allowed {
        checks.push(Check::exact("allowed", allowed, if decision.is_granted() { n } else { 0 }));
    }
    if let Some(expect::AllowError::ExceedsBurst) = expect.error {
        let exceeds = matches!(decision, Decision::Never { limit, .. } if limit < n);
        checks.push(Check::exact("error", "exceeds_burst", if exceeds { "exceeds_burst" } else { "none" }));
    }
    if let Some(capacity) = expect.capacity {
        checks.push(Check::exact("capacity", capacity, decision.limit()));
    }
    if let Some(remaining) = expect.remaining {
        checks.push(Check::exact("remaining", remaining, decision.remaining()));
    }
    if let Some(retry) = expect.ref_retry_after_ns {
        checks.push(Check::exact("ref_retry_after_ns", retry, Value::span(decision.retry_after())));
    }
    let tolerance = expect.tol_ns.unwrap_or(0);
    if let Some(retry) = expect.retry_after_ns {
        let ours = if decision.is_granted() { Value::Whole(-1) } else { Value::span(decision.retry_after()) };
        checks.push(Check::near("retry_after_ns", retry, ours, tolerance));
    }
    if let Some(reset) = expect.reset_after_ns {
        checks.push(Check::near("reset_after_ns", reset, Value::span(decision.reset_after()), tolerance));
    }
    checks
}

pub(crate) fn take_available(driver: &Driver, n: u64, expect: &expect::TakeAvailable) -> Vec<Check> {
    let taken = driver.bucket.take_up_to(n);
    // Nothing is granted always, and tells how the bucket stands.
    let standing = driver.try_take(0);
    let mut checks = Vec::new();
    for (field, tokens) in [("taken", expect.taken), ("allowed", expect.allowed)] {
        checks.extend(tokens.map(|tokens| Check::exact(field, tokens, taken)));
    }
    if let Some(remaining) = expect.remaining {
        checks.push(Check::exact("remaining", remaining, standing.remaining()));
    }
    let tolerance = expect.tol_ns.unwrap_or(0);
    if let Some(retry) = expect.retry_after_ns {
        // Where nothing was there, a question for one is refused and changes nothing.
        let ours = if taken > 0 { Value::Whole(-1) } else { Value::span(driver.try_take(1).retry_after()) };
        checks.push(Check::near("retry_after_ns", retry, ours, tolerance));
    }
    if let Some(reset) = expect.reset_after_ns {
        checks.push(Check::near("reset_after_ns", reset, Value::span(standing.reset_after()), tolerance));
    }
    checks
}

pub(crate) fn take_available_every(
    driver: &mut Driver,
    step_ns: u64,
    n: u64,
    calls: u64,
    expect: &expect::Every,
) -> Vec<Check> {
    let (began, before) = (driver.now(), driver.bucket.balance());
    let mut granted = 0;
    for _ in 0..calls {
        granted += driver.at(driver.now().saturating_add(step_ns)).bucket.take_up_to(n);
    }
    // What was there, and what came (the bucket is never full here), less what is left.
    let came = driver.bucket.rate() * Duration::from_nanos(driver.now() - began).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let debited = (before - driver.bucket.balance()) as f64 + came;
    vec![
        Check::exact("granted_total", expect.granted_total, granted),
        Check::exact("debited_total", expect.debited_total, debited),
    ]
}

pub(crate) fn take(answer: Answer, expect: &expect::Take) -> Result<Vec<Check>, Contradiction> {
    let (granted, wait) = waited(answer);
    let wait_check = match (expect.expected_ns_float, expect.rel_tol) {
        (None, None) => Check::exact("wait_ns", expect.wait_ns, wait),
        (Some(expected), Some(part)) => Check {
            field: "wait_ns",
            agrees: is_close(expected, Duration::from_nanos(wait).as_secs_f64() * 1e9, part),
            ..Check::exact("wait_ns", expect.wait_ns, wait)
        },
        _ => return Err(Contradiction("`expected_ns_float`, `rel_tol`: expected both".to_owned())),
    };
    Ok(vec![Check::granted("ok", expect.ok, granted), wait_check])
}

pub(crate) fn wait(answer: Answer, expect: &expect::Wait) -> Vec<Check> {
    let (granted, wait) = waited(answer);
    vec![Check::granted("ok", expect.ok, granted), Check::exact("delay_ns", expect.delay_ns, wait)]
}

pub(crate) fn reserve(at_ns: u64, answer: Answer, expect: &expect::Reserve) -> Vec<Check> {
    let (granted, wait) = waited(answer);
    vec![
        Check::granted("ok", expect.ok, granted),
        Check::near("act_at_ns", expect.act_at_ns, at_ns + wait, expect.tol_ns),
        Check::exact("ref_act_at_ns", expect.ref_act_at_ns, at_ns + wait),
    ]
}

/// What comes back of what was booked.
pub(crate) fn cancel(restored: i64, expect: &expect::Cancel) -> Vec<Check> {
    vec![Check::exact("ref_tokens_restored", expect.ref_tokens_restored, tokens(restored))]
}

pub(crate) fn after_cancels(
    driver: &Driver,
    n: u64,
    count: u64,
    expect: &expect::AfterCancels,
) -> Vec<Check> {
    let (booked, _) = waited(driver.reserve_and_cancel(n, count));
    let left = driver.bucket.balance();
    vec![
        // The peer grants as many as one likes.
        Check::exact("booked", true, booked),
        Check::exact("tokens_after", expect.tokens_after, tokens(left)),
        Check::exact("next_allow_ok", expect.next_allow_ok, driver.try_take(1).is_granted()),
    ]
}

/// `begun`: the answers to those who began to wait, as far as they were there at once.
pub(crate) fn pending(begun: &[Option<Decision>], expect: &expect::Pending) -> Vec<Check> {
    let words = |decision: &Option<Decision>| match decision {
        None => Value::from(true),
        Some(Decision::Never { .. }) => Value::NEVER.into(),
        Some(_) => false.into(),
    };
    let mut all = begun.iter().map(words);
    let first = all.next().unwrap_or_else(|| false.into());
    let ours = if all.all(|other| other == first) { first } else { "some".into() };
    vec![Check::granted("pending", expect.pending, ours)]
}

pub(crate) fn released(driver: &Driver, expect: &expect::Released) -> Vec<Check> {
    vec![Check::exact("count", expect.count, driver.released())]
}

pub(crate) fn total(answer: Answer, expect: &expect::Total) -> Vec<Check> {
    let ours = match answer {
        Answer::After(wait) => wait.into(),
        other => waited(other).0,
    };
    vec![Check::exact("total_delay_ns", expect.total_delay_ns, ours)]
}

/// What is wrong with what somebody is told who is refused: nothing, or it is said.
pub(crate) fn hint(driver: &mut Driver, n: u64) -> Vec<Check> {
    let wrong = driver.false_hint(n);
    wrong.map(|wrong| Check::exact("retry", "granted exactly then", wrong)).into_iter().collect()
}

/// Whether the caller has its tokens, in the words of the deviations, and how long it waited for them: for what it was
/// refused, 0, as in the facts.
fn waited(answer: Answer) -> (Value, u64) {
    match answer {
        Answer::After(wait) => (true.into(), wait),
        Answer::TooLate => (false.into(), 0),
        Answer::Never => (Value::NEVER.into(), 0),
        Answer::Wrong(why) => (why.into(), 0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "some tokens")]
const fn tokens(balance: i64) -> f64 {
    balance as f64
}
