//! When a request is sent another time, in words.

use std::fmt;

use http::header::{HeaderMap, UPGRADE};
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
            twice: (idempotent || has_key(&asked.headers)) && !upgrade,
            bounded: queue.concurrency.most().is_some(),
            elsewhere: route.upstreams.len() > 1,
            upgrade,
        })
    }
}

/// Whether a service can know the request again: by exactly one key that says something.
fn has_key(headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = keys.next().filter(|key| !key.as_bytes().trim_ascii().is_empty());
    key.is_some() && keys.next().is_none()
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
        Self { after, budget: settings.budget.to_string() }
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
        if let Some(HedgeMet { after, budget }) = &self.hedge {
            writeln!(f, "hedge     after {after}, {budget} more than tries")?;
        }
        if self.retry.is_none() && self.hedge.is_none() {
            return Ok(());
        }
        if !self.elsewhere {
            writeln!(f, "          by the same upstream, as there is no other")?;
        }
        let (replay, has_retry) = (&self.replay, self.retry.is_some());
        match (self.twice, has_retry) {
            (true, _) => writeln!(f, "          with a body of up to {replay}")?,
            (false, true) if self.upgrade => {
                writeln!(f, "          a change of protocols only if nothing was sent")?;
            }
            (false, false) if self.upgrade => writeln!(f, "          no change of protocols: it goes once")?,
            (false, true) => writeln!(
                f,
                "          this method only if nothing was sent, or with an Idempotency-Key and a body of up to {replay}"
            )?,
            (false, false) => writeln!(
                f,
                "          not this method, which goes once, but with an Idempotency-Key and a body of up to {replay}"
            )?,
        }
        if !self.bounded && self.twice && replay != "0" {
            writeln!(f, "          nothing bounds how many bodies are kept: the queue has no concurrency")?;
        }
        Ok(())
    }
}
