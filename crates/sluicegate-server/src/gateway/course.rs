//! One request on its way through its [attempts](super::attempts).

mod fail;
mod prepared;
mod race;
mod sent;
mod supply;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, Uri};
use sluicegate::clock::Clock;
use sluicegate::idempotent::Idempotent;
use sluicegate::retry::Failed;
use sluicegate_tower::http::again::idempotency_key;

use super::activity::Activity;
use super::attempts::Attempts;
use super::forward::{self, Reply, Way};
use super::metrics::count;
use super::refusal::{Refusal, Stage};
use super::request::Asked;
use super::said::Said;
use super::upstream::Exchange;
use fail::{Fail, is_of_body, last_of_two, on};
use supply::Supply;

/// One request.
#[derive(Debug)]
pub(super) struct Course<'a> {
    route: &'a Attempts,
    way: Way,
    method: Method,
    target: Uri,
    headers: HeaderMap,
    /// The client names none, so that each upstream is told its own.
    without_host: bool,
    /// It may be sent twice, one time after the other.
    twice: bool,
    /// It may be under way twice.
    at_once: bool,
    /// The service knows it again by a key.
    has_key: bool,
    body: Supply,
    /// Where waiting for the client's body is noted.
    activity: Arc<Activity>,
    /// What came of each attempt.
    said: Arc<Said>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The upstreams it was sent to.
    tried: Vec<usize>,
    /// Those that have said when to come back, and the instant.
    told: Vec<(usize, u64)>,
    /// What the last try came to, if it failed.
    last: Option<Fail>,
    /// How many attempts were sent, or nobody knows, and have no answer.
    unanswered: usize,
    /// Why one of them has none, though the service may still work on it.
    open: Option<Refusal>,
    /// When one that works on another attempt has said to come back: the instant.
    back_at: Option<u64>,
}

impl State {
    /// What this one has said last, if anything.
    fn tell(&mut self, upstream: usize, at: Option<u64>) {
        self.told.retain(|(other, _)| *other != upstream);
        self.told.extend(at.map(|at| (upstream, at)));
    }

    /// Those to be asked later than `now`, and when.
    fn put_off(&self, now: u64) -> impl Iterator<Item = (usize, u64)> {
        self.told.iter().copied().filter(move |(_, at)| now < *at)
    }
}

/// What an attempt brings.
type Answer = (Response<()>, Exchange);

impl<'a> Course<'a> {
    /// A request that was admitted.
    pub(super) fn begin(route: &'a Attempts, asked: Asked) -> (Self, Reply) {
        let without_host = !asked.parts.headers.contains_key(header::HOST);
        let activity = Arc::clone(&asked.activity);
        let said = asked.said.clone().unwrap_or_default();
        let (way, request, reply) = forward::ready(asked, &HeaderValue::from_static("unknown"));
        let (parts, body) = request.into_parts();
        let (method, target, headers) = (parts.method, parts.uri, parts.headers);
        let twice = route.settings.may_repeat(&method, &headers);
        let at_once = route.settings.may_hedge(&method, &headers);
        let has_key = idempotency_key(&headers).is_some();
        let is_kept = at_once || (twice && route.retry.is_some());
        let body = Supply::of(body, if is_kept { route.replay } else { 0 });
        let course = Self {
            route,
            way,
            method,
            target,
            headers,
            without_host,
            twice,
            at_once,
            has_key,
            body,
            activity,
            said,
            state: Mutex::default(),
        };
        (course, reply)
    }

    /// No panic can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of each attempt so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.said.lines(&self.route.group, self.route.time.now())
    }

    /// What came of each attempt.
    pub(super) const fn said(&self) -> &Arc<Said> {
        &self.said
    }

    /// All attempts, up to an answer to be content with, or the last one there is.
    pub(super) async fn run(&self) -> Result<Answer, Refusal> {
        let course = self;
        let outcome = match &self.route.retry {
            Some(retry) => {
                let work = Idempotent::promise(move |number: usize| course.attempt(number));
                let tried = retry.run(&work, Some(self.way.deadline), |failed: &Failed| *failed).await;
                tried.map_err(|gave_up| self.route.counts.stop(gave_up.why))
            }
            None => self.attempt(0).await.map_err(|_| ()),
        };
        if let Ok(answer) = outcome {
            return Ok(answer);
        }
        let (last, open) = {
            let mut state = self.state();
            (state.last.take(), state.open.take())
        };
        match (last, open) {
            // It says nothing of what will become of the one that is under way.
            (Some(Fail::Runs(answer)), Some(open)) => {
                answer.1.discard();
                Err(open)
            }
            // An answer that nobody has a better one for is the upstream's own, and passed on.
            (Some(Fail::Answer(answer) | Fail::Runs(answer)), _) => Ok(*answer),
            (Some(Fail::Error(refusal, _)), _) => Err(refusal),
            // The deadline came first.
            (Some(Fail::Idle) | None, _) => Err(Refusal::Deadline(Stage::Upstream)),
        }
    }

    /// One try, hedged where that is allowed. Its error says whether another one may help; what came is kept.
    async fn attempt(&self, number: usize) -> Result<Answer, Failed> {
        if number > 0 {
            count(&self.route.counts.retries);
            let last = self.state().last.take();
            self.set_aside(last);
        }
        let hedge = self.route.hedge.as_ref().filter(|_| self.at_once && self.body.is_shared());
        let outcome = match hedge {
            None => self.once().await,
            Some(hedge) => {
                let mut first = pin!(self.once());
                match self.until_body_is_whole(first.as_mut()).await {
                    Some(outcome) => outcome,
                    None => self.race(hedge, first).await,
                }
            }
        };
        let fail = match outcome {
            Ok(answer) => return Ok(answer),
            Err(fail) => fail,
        };
        let failed = self.judge(&fail);
        self.state().last = Some(fail);
        Err(failed)
    }

    /// Something else comes in its place.
    fn set_aside(&self, fail: Option<Fail>) {
        match fail {
            Some(Fail::Error(refusal, false)) if self.has_key && !is_of_body(&refusal) => {
                self.state().open = Some(refusal);
            }
            Some(fail) => fail.discard(),
            None => {}
        }
    }

    /// Of two failures the one to go on with. The other is set aside.
    fn last_of_two(&self, earlier: Option<Fail>, later: Option<Fail>) -> Option<Fail> {
        let (kept, gone) = last_of_two(earlier, later);
        self.set_aside(gone);
        kept
    }

    /// Whether another try may make it good.
    fn judge(&self, fail: &Fail) -> Failed {
        let (listed, unsent) = match fail {
            Fail::Answer(_) | Fail::Runs(_) => (true, false),
            Fail::Error(Refusal::Upstream(error), unsent) => {
                (on(error).is_some_and(|on| self.route.on.contains(&on)), *unsent)
            }
            Fail::Idle | Fail::Error(..) => return Failed::ForGood,
        };
        if !listed || !(unsent || (self.twice && self.body.is_there())) {
            return Failed::ForGood;
        }
        // What some upstreams ask for is for those who would ask them again: it is waited for where all of them do.
        let now = self.route.time.now();
        let mut state = self.state();
        let all_do = state.put_off(now).count() == self.route.group.all().len();
        let first = state.put_off(now).map(|(_, at)| at - now).min().filter(|_| all_do);
        // Who knows it by its key is behind all of them.
        let told = state.back_at.take().map(|at| at.saturating_sub(now));
        drop(state);
        match told.or(first) {
            None => Failed::Perhaps,
            // It holds a place in the meantime, which others need.
            Some(wait) if self.route.is_long(wait) && self.route.is_full() => Failed::After(u64::MAX),
            Some(wait) => Failed::After(wait),
        }
    }
}
