//! When a request is sent another time, in words.

use std::fmt;

use http::header::UPGRADE;
use serde::Serialize;

use super::Asked;
use super::words::time;
use crate::config::attempts::{After, AttemptSettings, HedgeSettings, RetrySettings, replay_text};
use crate::config::settings::{QueueSettings, RouteSettings};

/// When a request is sent another time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptsMet {
    /// How long one attempt may take until its answer begins; none is as long as the request has.
    pub timeout: Option<String>,
    /// When it is tried again.
    pub retry: Option<RetryMet>,
    /// When somebody else is asked as well.
    pub hedge: Option<HedgeMet>,
    /// How much of its body is kept to be sent again.
    pub replay: String,
    /// Whether its method is one that may be sent twice. Others may where they have one `Idempotency-Key`.
    pub idempotent: bool,
    /// Whether this request may be sent twice: by its method or its key, and if it asks for no other protocol. Another is sent again
    /// only where nothing was sent.
    pub twice: bool,
    /// Whether it may be under way twice, as a hedge has it.
    pub at_once: bool,
    /// Whether there is a bound on how many requests have a body kept at once: the places of the queue.
    pub bounded: bool,
    /// Whether another attempt can go to another upstream.
    pub elsewhere: bool,
    /// Whether it asks for another protocol.
    #[serde(skip)]
    upgrade: bool,
}

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryMet {
    /// How often at the most, the first time included.
    pub attempts: usize,
    /// After what.
    pub on: Vec<String>,
    /// How many more attempts there may be for each request.
    pub budget: String,
    /// The longest wait before the second attempt.
    pub pause: String,
    /// The longest wait of all.
    pub max_pause: String,
}

/// When somebody else is asked as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HedgeMet {
    /// After how long.
    pub after: String,
    /// How many hedges there may be for each try of a request.
    pub budget: String,
    /// Of which methods; none is of those that are safe.
    pub methods: Vec<String>,
}

impl AttemptsMet {
    /// None if a request is sent once, for as long as it has.
    pub(super) fn of(route: &RouteSettings, queue: &QueueSettings, asked: &Asked) -> Option<Self> {
        let AttemptSettings { retry, hedge, replay, timeout } = &route.attempts;
        let idempotent = asked.method.is_idempotent();
        let upgrade = asked.headers.contains_key(UPGRADE);
        (retry.is_some() || hedge.is_some() || timeout.is_some()).then(|| Self {
            timeout: timeout.map(time),
            retry: retry.as_ref().map(RetryMet::of),
            hedge: hedge.as_ref().map(HedgeMet::of),
            replay: replay_text(*replay),
            idempotent,
            twice: route.attempts.may_repeat(&asked.method, &asked.headers),
            at_once: route.attempts.may_hedge(&asked.method, &asked.headers),
            bounded: queue.concurrency.most().is_some(),
            elsewhere: route.upstreams.len() > 1,
            upgrade,
        })
    }
}

impl RetryMet {
    fn of(settings: &RetrySettings) -> Self {
        Self {
            attempts: settings.attempts,
            on: settings.on.iter().map(ToString::to_string).collect(),
            budget: settings.budget.to_string(),
            pause: time(settings.pause),
            max_pause: time(settings.max_pause),
        }
    }
}

impl HedgeMet {
    fn of(settings: &HedgeSettings) -> Self {
        let after = match settings.after {
            After::Fixed(after) => time(after),
            After::Percentile { share, first } => {
                format!("what {share} of the answers take, {} until that is known", time(first))
            }
        };
        let methods = settings.methods.iter().map(ToString::to_string).collect();
        Self { after, budget: settings.budget.to_string(), methods }
    }
}

impl AttemptsMet {
    fn hedged(&self, hedge: &HedgeMet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HedgeMet { after, budget, methods } = hedge;
        if self.at_once {
            return writeln!(f, "hedge     after {after}, {budget} more than tries");
        }
        match &methods[..] {
            _ if self.upgrade => writeln!(f, "hedge     no change of protocols"),
            [] => writeln!(
                f,
                "hedge     not this one: only GET, HEAD, OPTIONS and TRACE, without an Idempotency-Key"
            ),
            methods => writeln!(f, "hedge     not this method, only {}", methods.join(", ")),
        }
    }
}

impl fmt::Display for AttemptsMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(timeout) = &self.timeout {
            writeln!(f, "attempt   {timeout} at the most")?;
        }
        if let Some(RetryMet { attempts, on, budget, pause, max_pause }) = &self.retry {
            writeln!(
                f,
                "retry     {attempts} attempts at the most, {budget} more than requests; on {}",
                on.join(", ")
            )?;
            writeln!(f, "          waits {pause} at the most, then twice as long each, up to {max_pause}")?;
        }
        if let Some(hedge) = &self.hedge {
            self.hedged(hedge, f)?;
        }
        if self.retry.is_none() && self.hedge.is_none() {
            return Ok(());
        }
        if !self.elsewhere && (self.retry.is_some() || self.at_once) {
            writeln!(f, "          by the same upstream, as there is no other")?;
        }
        let (replay, has_retry) = (&self.replay, self.retry.is_some());
        match (self.twice, has_retry) {
            (true, true) => writeln!(f, "          with a body of up to {replay}")?,
            (true, false) if self.at_once => writeln!(f, "          with a body of up to {replay}")?,
            (false, true) if self.upgrade => {
                writeln!(f, "          a change of protocols only if nothing was sent")?;
            }
            (false, true) => writeln!(
                f,
                "          this method only if nothing was sent, or with an Idempotency-Key and a body of up to {replay}"
            )?,
            // The hedge has said that there is none.
            (_, false) => {}
        }
        let kept = self.at_once || (self.twice && has_retry);
        if !self.bounded && kept && replay != "0" {
            writeln!(f, "          nothing bounds how many bodies are kept: the queue has no concurrency")?;
        }
        Ok(())
    }
}
