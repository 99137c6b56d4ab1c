//! Requests that may go to one of several upstreams, or more than once: another try after a failure, and somebody else as well where
//! an answer is late. When, and whether at all, the library's [`Retry`] and [`Hedge`] say; here is what an attempt is, and which
//! of its failures another one may make good.
//!
//! * **What may be sent twice**: where the method promises that twice is as good as once (RFC 9110, section 9.2.2), or the request
//!   has one `Idempotency-Key` that says something, one time after the other. At once, as a hedge is, only what is safe (section
//!   9.2.1) and has no such key, or what the operator promises: who has lost is only disconnected, and may write its version
//!   over what the client has sent since; and a service that knows requests by a key answers 409 to the second, which for that reason
//!   is no answer where another attempt is under way or has ended without one. Anything else goes once; but where nothing of it was sent, since the upstream could not be reached,
//!   another one may have it.
//! * **A change of protocols** is asked for once.
//! * **What holds a place in the queue** is the request, through all its attempts and the pauses between them; but where no
//!   place is free, none is held only because an upstream has asked for a longer pause. A hedge has a place of its own
//!   until the race is over, and is not made where none is free. Where the number of places is found out, the time of the whole
//!   counts, and one attempt that the upstream had too much to do for makes it a drop, though another one was answered.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Response, StatusCode};
use sluicegate::clock::nanos;
use sluicegate::hedge::{self, Hedge};
use sluicegate::permits::{Permit, Permits};
use sluicegate::retry::{self, Retry, Why};
use sluicegate::timer::TokioTime;

use super::body::UpstreamBody;
use super::choice::Group;
use super::course::Course;
use super::lateness::Rule;
use super::metrics::count;
use super::places::{Dropped, Places};
use super::refusal::{Denial, Refusal, Stage};
use super::request::Asked;
use crate::config::attempts::{After, HedgeSettings, On, RetrySettings, SAVED_HEDGES, SAVED_RETRIES};
use crate::config::settings::{AttemptSettings, RouteSettings};

/// How a route's requests are sent, and to whom.
#[derive(Debug)]
pub struct Attempts {
    /// Whom to.
    pub group: Group,
    /// When another time.
    pub retry: Option<Retry<TokioTime>>,
    /// When to somebody else as well.
    pub hedge: Option<Hedge<TokioTime>>,
    /// What has happened. It outlives a configuration.
    pub counts: Arc<Counts>,
    /// What is no answer to be content with.
    pub(super) on: Vec<On>,
    /// How long one may take.
    pub(super) timeout: Option<Duration>,
    /// How much of a body is kept.
    pub(super) replay: usize,
    /// The places at the upstreams.
    pub(super) permits: Permits,
    /// Which part of them is this route's.
    pub(super) partition: usize,
    /// When an upstream is to blame for what is late.
    pub(super) rule: Rule,
    /// Statuses that mean that an upstream has too much to do.
    pub(super) drops: Arc<[StatusCode]>,
    /// The clock, and what sleeps.
    pub(super) time: TokioTime,
    pub(super) settings: AttemptSettings,
}

/// What has happened on a route.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests sent to an upstream, or that were to be.
    pub attempts: AtomicU64,
    /// Of those, after a failure.
    pub retries: AtomicU64,
    /// Failures without another try, by the reason.
    stopped: [AtomicU64; STOPPED.len()],
}

/// Why there was no other try though it might have helped, as labels.
const STOPPED: [&str; 4] = ["attempts", "budget", "deadline", "retry_after"];

impl Counts {
    /// Failures without another try, by the reason.
    pub fn stopped(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        STOPPED.into_iter().zip(&self.stopped)
    }

    pub(super) fn stop(&self, why: Why) {
        let label = match why {
            Why::Tries => 0,
            Why::Budget => 1,
            Why::Deadline => 2,
            Why::TooLong => 3,
            _ => return,
        };
        count(&self.stopped[label]);
    }
}

impl Attempts {
    /// For a route, whose settings have been checked. What is in use `before` under the same name and goes on is taken over: a budget
    /// of retries or hedges is not full again, whatever was changed, nor a delay unknown because something else was. It is not changed
    /// until it is told to [be as it says](Self::commit). None if its requests go once, to one upstream.
    #[must_use]
    pub fn of(
        route: &RouteSettings,
        group: Group,
        places: &Places,
        before: Option<&Self>,
        time: TokioTime,
    ) -> Option<Arc<Self>> {
        let settings = &route.attempts;
        let AttemptSettings { retry, hedge, replay, timeout } = settings;
        if group.all().len() == 1 && retry.is_none() && hedge.is_none() && timeout.is_none() {
            return None;
        }
        let had = before.and_then(|before| before.retry.clone());
        let made = |settings: &RetrySettings| {
            had.or_else(|| retry_settings(settings).map(|settings| Retry::new(settings, time)))
        };
        let machine = retry.as_ref().and_then(made);
        let had = before.and_then(|before| before.hedge.clone());
        // Whether there is room for one, each request asks for itself.
        let made =
            |settings: &HedgeSettings| had.or_else(|| Some(Hedge::new(&hedge_settings(settings)?, time)));
        let hedges = hedge.as_ref().and_then(made);
        let on = match (retry, hedge) {
            (Some(retry), _) => retry.on.clone(),
            (None, Some(_)) => On::usual(),
            (None, None) => Vec::new(),
        };
        Some(Arc::new(Self {
            group,
            retry: machine,
            hedge: hedges,
            counts: before.map_or_else(Arc::default, |before| Arc::clone(&before.counts)),
            on,
            timeout: *timeout,
            replay: *replay,
            permits: places.permits.clone(),
            partition: places.partition(route),
            rule: Rule::of(places, route),
            drops: places.settings.drops(),
            time,
            settings: settings.clone(),
        }))
    }

    /// Has what was taken over be as its settings say.
    pub fn commit(&self) {
        let settings = self.settings.retry.as_ref().and_then(retry_settings);
        if let Some((retry, settings)) = self.retry.as_ref().zip(settings) {
            retry.apply(settings);
        }
        let settings = self.settings.hedge.as_ref().and_then(hedge_settings);
        if let Some((hedge, settings)) = self.hedge.as_ref().zip(settings) {
            hedge.apply(&settings);
        }
    }

    /// Sends a request, and perhaps again. Cancel-safe in that nothing is left behind: dropped, it closes the connections it uses.
    ///
    /// # Errors
    /// Why there is no answer, and what came of each attempt.
    pub async fn send(&self, asked: Asked) -> Result<Response<UpstreamBody>, Denial> {
        let (activity, allowed) = (Arc::clone(&asked.activity), asked.allowed());
        let (course, reply) = Course::begin(self, asked);
        let denied = |refusal| {
            let said = course.said();
            let dropped = match &refusal {
                Refusal::Deadline(Stage::Upstream) => self.rule.fault(&activity, Some(said), allowed),
                _ => said.dropped(),
            };
            Denial { attempts: course.lines(), dropped, ..Denial::from(refusal) }
        };
        let (mut head, exchange) = course.run().await.map_err(denied)?;
        if course.said().dropped().is_some() {
            head.extensions_mut().insert(Dropped);
        }
        reply.answer(head, exchange).map_err(denied)
    }
}

/// None only where the settings are not checked.
fn retry_settings(settings: &RetrySettings) -> Option<retry::Settings> {
    let RetrySettings { attempts, budget, pause, max_pause, .. } = settings;
    let tries = u32::try_from(*attempts).ok()?;
    let settings = retry::Settings::new(tries, *pause, *max_pause).ok()?;
    settings.with_budget(budget.as_f64(), SAVED_RETRIES).ok()
}

fn hedge_settings(settings: &HedgeSettings) -> Option<hedge::Settings> {
    let made = match settings.after {
        After::Fixed(after) => hedge::Settings::fixed(after),
        After::Percentile { share, first } => hedge::Settings::tracked(share.as_f64(), first),
    };
    made.ok()?.with_budget(settings.budget.as_f64(), SAVED_HEDGES).ok()
}

impl Attempts {
    /// When an attempt that begins now is over at the latest.
    pub(super) fn until(&self, now: u64, deadline: u64) -> u64 {
        self.timeout.map_or(deadline, |timeout| deadline.min(now.saturating_add(nanos(timeout))))
    }

    /// Whether a wait, in nanoseconds, is longer than any pause that is not asked for.
    pub(super) fn is_long(&self, wait: u64) -> bool {
        self.settings.retry.as_ref().is_some_and(|retry| wait > nanos(retry.max_pause))
    }

    /// Whether somebody waits for a place at the upstreams, or would have to.
    pub(super) fn is_full(&self) -> bool {
        self.permits.waiting() > 0 || self.permits.in_flight() >= self.permits.concurrency()
    }

    /// A place for a hedge; none while somebody waits, or none is free in this route's part: more work is no help then.
    pub(super) fn spare(&self) -> Option<Permit> {
        (self.permits.waiting() == 0).then(|| self.permits.try_enter_spare_of(self.partition)).flatten()
    }
}
