//! What a store said, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use sluicegate::decision::Decision;
use sluicegate::keyed::{Decided, Verdict};

use super::{Asked, Operation};

/// What a store said. As JSON, every field is always there, `null` where it means nothing or is not known; as text, it is one
/// line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// `take`, `put`, `peek`, `watch` or `reset`.
    pub command: &'static str,
    /// The name of the limit.
    pub space: String,
    /// Whose bucket.
    pub key: String,
    /// How much it may have.
    pub quota: Option<String>,
    /// How many tokens were asked for, or were to be put; null for all, and for `reset`.
    pub n: Option<u64>,
    /// `granted`; `later`, where asking again is of use; or `never`. Null for `put` and `reset`, which decide nothing.
    pub decision: Option<&'static str>,
    /// How many tokens were taken, or put. Null where none are.
    pub tokens: Option<u64>,
    /// Whole tokens left. Null without a limit.
    pub remaining: Option<u64>,
    /// How many there can be. Null without a limit.
    pub capacity: Option<u64>,
    /// Seconds until the same is granted if nobody else comes, never too few: 0 if it was. Null where it never is, or only when
    /// somebody puts.
    pub retry_after: Option<f64>,
    /// Seconds until the bucket is full again. Null where it never is by itself.
    pub reset_after: Option<f64>,
    /// Who has decided: `store`, `lease` or `outage`. Null where nobody has.
    pub decided_by: Option<&'static str>,
    /// What the line says.
    #[serde(skip)]
    line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Decided(Operation, Decision),
    Took(Option<Decision>),
    Put(Option<Decision>),
    Reset,
}

impl Told {
    /// Something was done, and there is nothing to tell of it.
    pub(super) fn done(asked: &Asked) -> Self {
        Self {
            command: asked.operation.name(),
            space: asked.space.clone(),
            key: asked.key.clone(),
            quota: asked.quota.map(|quota| quota.to_string()),
            n: asked.n,
            decision: None,
            tokens: None,
            remaining: None,
            capacity: None,
            retry_after: None,
            reset_after: None,
            decided_by: None,
            line: Line::Reset,
        }
    }

    pub(super) fn decided(asked: &Asked, tokens: Option<u64>, verdict: &Verdict) -> Self {
        let line = Line::Decided(asked.operation, verdict.decision);
        Self {
            tokens,
            line,
            ..Self::done(asked).standing(verdict.decision, verdict.by).deciding(verdict.decision)
        }
    }

    /// As many as there were; `stands` is the bucket a moment later.
    pub(super) fn some(
        asked: &Asked,
        taken: u64,
        is_refused: bool,
        stands: Option<(Decision, Decided)>,
    ) -> Self {
        let told = Self {
            tokens: Some(taken),
            line: Line::Took(stands.map(|(decision, _)| decision)),
            ..Self::done(asked)
        };
        let told = match stands {
            Some((decision, by)) => told.standing(decision, by),
            None => told,
        };
        match stands {
            Some((decision, _)) if is_refused && !decision.is_granted() => told.deciding(decision),
            // Somebody has put one since.
            _ if is_refused => Self { decision: Some("later"), retry_after: Some(0.0), ..told },
            _ => Self { decision: Some("granted"), retry_after: Some(0.0), ..told },
        }
    }

    pub(super) fn put(asked: &Asked, put: u64, stands: Option<(Decision, Decided)>) -> Self {
        let told = Self {
            tokens: Some(put),
            line: Line::Put(stands.map(|(decision, _)| decision)),
            ..Self::done(asked)
        };
        match stands {
            Some((decision, by)) => Self { decided_by: None, ..told.standing(decision, by) },
            None => told,
        }
    }

    fn standing(self, decision: Decision, by: Decided) -> Self {
        let limited = |number: u64| (number != u64::MAX).then_some(number);
        let by = match by {
            Decided::Lease => "lease",
            Decided::Outage(_) => "outage",
            _ => "store",
        };
        Self {
            remaining: limited(decision.remaining()),
            capacity: limited(decision.limit()),
            reset_after: decision.reset_after().map(seconds),
            decided_by: Some(by),
            ..self
        }
    }

    fn deciding(self, decision: Decision) -> Self {
        let name = match decision {
            Decision::Granted { .. } => "granted",
            Decision::Later { .. } => "later",
            Decision::Never { .. } => "never",
        };
        Self { decision: Some(name), retry_after: decision.retry_after().map(seconds), ..self }
    }

    /// Whether what was asked for was granted, or done.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.decision.is_none_or(|decision| decision == "granted")
    }

    /// How many are left, as the end of a sentence.
    fn left(&self) -> String {
        match (self.remaining, self.capacity) {
            (Some(remaining), Some(capacity)) => format!("{remaining} of {capacity} left"),
            _ => "no limit".to_owned(),
        }
    }

    /// Why not, and when.
    fn refused(&self, decision: Option<Decision>) -> String {
        match decision {
            Some(Decision::Later { retry_after: Some(wait), .. }) => format!("retry in {}", Wait(wait)),
            Some(Decision::Later { retry_after: None, .. }) => {
                format!("until somebody puts, {}", self.left())
            }
            Some(Decision::Never { limit: 0, .. }) => "for ever: the quota lets nobody through".to_owned(),
            Some(Decision::Never { limit, .. }) if self.n.is_some_and(|n| n > limit) => {
                format!("for ever: there are never more than {limit}")
            }
            Some(Decision::Never { .. }) => "for ever".to_owned(),
            Some(Decision::Granted { .. }) | None => "retry now".to_owned(),
        }
    }
}

/// In seconds, rounded up to a microsecond: who comes back then is not too early.
#[expect(clippy::cast_precision_loss, reason = "exact up to 285 years of microseconds")]
fn seconds(time: Duration) -> f64 {
    time.as_nanos().div_ceil(1000) as f64 / 1e6
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (granted, refused) = match self.line {
            Line::Reset => return f.write_str("reset"),
            Line::Put(stands) => {
                let left = stands.map_or(String::new(), |_| format!(", {}", self.left()));
                return match (self.tokens, self.n) {
                    (Some(put), Some(n)) if put < n => write!(f, "put {put} of {n}{left}"),
                    (put, _) => write!(f, "put {}{left}", put.unwrap_or_default()),
                };
            }
            Line::Took(stands) => {
                if !self.is_fine() {
                    return write!(f, "refused, {}", self.refused(stands));
                }
                let left = stands.map_or(String::new(), |_| format!(", {}", self.left()));
                let taken = self.tokens.unwrap_or_default();
                return match self.n {
                    Some(n) => write!(f, "granted {taken} of {n}{left}"),
                    None => write!(f, "granted {taken}{left}"),
                };
            }
            Line::Decided(Operation::Peek, _) => ("would be granted", "would be refused"),
            Line::Decided(Operation::Watch { .. }, _) => ("there", "not there"),
            Line::Decided(..) => ("granted", "refused"),
        };
        match self.line {
            Line::Decided(_, decision) if !decision.is_granted() => {
                write!(f, "{refused}, {}", self.refused(Some(decision)))
            }
            _ => write!(f, "{granted}, {}", self.left()),
        }
    }
}

/// A wait, as people read it: rounded up in its last digit.
struct Wait(Duration);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        let (tenths, seconds) = (millis.div_ceil(100), millis.div_ceil(1000));
        match seconds {
            _ if millis < 1000 => write!(f, "{millis} ms"),
            _ if tenths < 600 => write!(f, "{}.{} s", tenths / 10, tenths % 10),
            0..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => {
                let minutes = seconds.div_ceil(60);
                write!(f, "{} h {} min", minutes / 60, minutes % 60)
            }
            _ => {
                let hours = seconds.div_ceil(3600);
                write!(f, "{} d {} h", hours / 24, hours % 24)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate::breaker::Policy;

    fn asked(operation: Operation, n: Option<u64>) -> Asked {
        Asked {
            operation,
            key: "ann \"x\"".to_owned(),
            space: "jobs".to_owned(),
            quota: Some("10/m".parse().unwrap()),
            n,
            store: Some("redis://:secret@host".to_owned()),
            timeout: None,
            json: true,
        }
    }

    const NOW: Operation = Operation::Take { wait: Duration::ZERO };

    fn later(wait: Option<Duration>) -> Decision {
        Decision::Later { retry_after: wait, limit: 10, remaining: 3, reset_after: wait }
    }

    fn granted(remaining: u64) -> Decision {
        Decision::Granted { limit: 10, remaining, reset_after: Some(Duration::from_nanos(1)) }
    }

    #[test]
    fn a_decision_is_one_line() {
        let says = |operation, n, decision| {
            Told::decided(&asked(operation, Some(n)), None, &Verdict::new(vec![decision])).to_string()
        };
        assert_eq!(says(NOW, 3, granted(7)), "granted, 7 of 10 left");
        assert_eq!(says(NOW, 3, Decision::UNLIMITED), "granted, no limit");
        assert_eq!(says(NOW, 3, later(Some(Duration::from_micros(1_150_001)))), "refused, retry in 1.2 s");
        assert_eq!(says(NOW, 3, later(None)), "refused, until somebody puts, 3 of 10 left");
        let never = Decision::Never { limit: 10, remaining: 3, reset_after: None };
        assert_eq!(says(NOW, 11, never), "refused, for ever: there are never more than 10");
        let ban = Decision::Never { limit: 0, remaining: 0, reset_after: None };
        assert_eq!(says(NOW, 1, ban), "refused, for ever: the quota lets nobody through");
        assert_eq!(says(Operation::Peek, 3, granted(7)), "would be granted, 7 of 10 left");
        assert_eq!(says(Operation::Watch { wait: None }, 3, granted(7)), "there, 7 of 10 left");
        let minute = later(Some(Duration::from_secs(60)));
        assert_eq!(says(Operation::Watch { wait: None }, 3, minute), "not there, retry in 1 min 0 s");
    }

    #[test]
    fn what_was_done_is_one_line() {
        let up_to = asked(Operation::TakeUpTo, Some(5));
        let stands = |decision| Some((decision, Decided::Store));
        assert_eq!(
            Told::some(&up_to, 3, false, stands(granted(0))).to_string(),
            "granted 3 of 5, 0 of 10 left"
        );
        assert_eq!(Told::some(&up_to, 3, false, None).to_string(), "granted 3 of 5");
        let none = Told::some(&up_to, 0, true, stands(later(Some(Duration::from_millis(5)))));
        assert_eq!((none.to_string().as_str(), none.is_fine()), ("refused, retry in 5 ms", false));
        let none = Told::some(&up_to, 0, true, None);
        assert_eq!((none.to_string().as_str(), none.is_fine()), ("refused, retry now", false));
        let all = asked(Operation::TakeAll, None);
        assert_eq!(Told::some(&all, 3, false, stands(granted(0))).to_string(), "granted 3, 0 of 10 left");
        let put = asked(Operation::Put, Some(5));
        assert_eq!(Told::put(&put, 3, stands(granted(10))).to_string(), "put 3 of 5, 10 of 10 left");
        assert_eq!(Told::put(&put, 5, stands(granted(9))).to_string(), "put 5, 9 of 10 left");
        assert_eq!(Told::done(&asked(Operation::Reset, None)).to_string(), "reset");
        assert!(Told::put(&put, 0, None).is_fine());
    }

    #[test]
    fn waits_are_rounded_up() {
        for (nanos, says) in [
            (1, "1 ms"),
            (998_000_001, "999 ms"),
            (999_000_001, "1.0 s"),
            (1_000_000_001, "1.1 s"),
            (59_900_000_000, "59.9 s"),
            (59_900_000_001, "1 min 0 s"),
            (3_599_000_000_001, "1 h 0 min"),
            (3_660_000_000_001, "1 h 2 min"),
            (86_399_000_000_001, "1 d 0 h"),
            (90_000_000_000_001, "1 d 2 h"),
        ] {
            assert_eq!(Wait(Duration::from_nanos(nanos)).to_string(), says, "{nanos}");
        }
    }

    #[test]
    fn json_has_every_field_and_no_address() {
        let verdict = Verdict::new(vec![later(Some(Duration::from_nanos(333_333_333)))]);
        let told = Told::decided(&asked(NOW, Some(3)), Some(0), &verdict);
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(
            json,
            r#"{"command":"take","space":"jobs","key":"ann \"x\"","quota":"10/m","n":3,"decision":"later","tokens":0,"#
                .to_owned()
                + r#""remaining":3,"capacity":10,"retry_after":0.333334,"reset_after":0.333334,"decided_by":"store"}"#
        );
        let by = Decided::Outage(Policy::LocalShare);
        let told =
            Told::decided(&asked(NOW, None), None, &Verdict::new(vec![Decision::UNLIMITED]).decided(by));
        let json = serde_json::to_value(&told).unwrap();
        assert_eq!((&json["capacity"], &json["n"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_eq!((&json["decided_by"], &json["retry_after"]), (&"outage".into(), &0.0.into()));
    }
}
