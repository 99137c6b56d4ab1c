//! One request on its way through its [attempts](super::attempts).

mod fail;
mod supply;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use sluicegate::clock::{Clock, nanos};
use sluicegate::hedge::Hedge;
use sluicegate::idempotent::Idempotent;
use sluicegate::permits::Permit;
use sluicegate::retry::Failed;
use sluicegate::timer::TokioTime;

use sluicegate_tower::http::again::idempotency_key;
use sluicegate_tower::http::judge::retry_after;
use tokio::task::coop::unconstrained;

use super::activity::Activity;
use super::attempts::Attempts;
use super::body::RequestBody;
use super::choice::Place;
use super::forward::{self, Reply, Way, outgoing, repeatable};
use super::headers::can_pass;
use super::metrics::count;
use super::places::took_too_long;
use super::refusal::{Refusal, Stage};
use super::request::Asked;
use super::said::Said;
use super::upstream::{Exchange, Terms, Unanswered, Upstream, UpstreamError};
use crate::config::attempts::On;
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

/// An attempt that is under way.
type Begun<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fail>> + Send + 'a>>;

/// An attempt that can be sent.
struct Prepared<'a> {
    /// Its number in the route's group.
    chosen: usize,
    upstream: &'a Arc<Upstream>,
    place: Place,
    request: Request<RequestBody>,
}

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

    /// What comes of an attempt before all of the client's body is here, if anything does: what is slow until then is the client, and
    /// says nothing of the upstream.
    async fn until_body_is_whole(
        &self,
        mut first: Pin<&mut impl Future<Output = Result<Answer, Fail>>>,
    ) -> Option<Result<Answer, Fail>> {
        poll_fn(|context| {
            if self.is_whole() {
                return Poll::Ready(None);
            }
            match first.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                // It is read by nobody else.
                Poll::Pending if self.is_whole() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Whether all of the body is here, and kept.
    fn is_whole(&self) -> bool {
        match &self.body {
            Supply::Empty => true,
            Supply::Once(_) => false,
            Supply::Again(..) => self.activity.request_body_has_ended() && self.body.is_there(),
        }
    }

    /// One attempt, which may have begun, and another beside it if it is slow.
    async fn race(
        &self,
        hedge: &Hedge<TokioTime>,
        first: Pin<&mut impl Future<Output = Result<Answer, Fail>>>,
    ) -> Result<Answer, Fail> {
        let mut course = hedge.begin(None);
        let (mut first, mut second) = (Some(first), None::<Begun<'_>>);
        let mut sleep = pin!(course.sleep().map(unconstrained));
        let mut failed = None;
        let (winner, answer) = poll_fn(|context| {
            loop {
                let mut lost = None;
                if let Some(running) = &mut first
                    && let Poll::Ready(outcome) = running.as_mut().poll(context)
                {
                    first = None;
                    match outcome {
                        Ok(answer) => return Poll::Ready((0, Ok(answer))),
                        Err(fail) => lost = Some(fail),
                    }
                }
                if let Some(running) = &mut second
                    && let Poll::Ready(outcome) = running.as_mut().poll(context)
                {
                    second = None;
                    match outcome {
                        Ok(answer) => {
                            failed = self.last_of_two(failed.take(), lost);
                            return Poll::Ready((1, Ok(answer)));
                        }
                        Err(fail) => lost = self.last_of_two(lost, Some(fail)),
                    }
                }
                failed = self.last_of_two(failed.take(), lost);
                if first.is_none() && second.is_none() {
                    return Poll::Ready((0, Err(failed.take().unwrap_or(Fail::Idle))));
                }
                let Some(alarm) = sleep.as_mut().as_pin_mut() else { return Poll::Pending };
                ready!(alarm.poll(context));
                // First whether it can be sent: what is not is neither paid nor counted.
                let prepared = self.hedge();
                let is_due = course.is_due_unless(prepared.is_none());
                sleep.set(course.sleep().map(unconstrained));
                if let Some((spare, prepared)) = prepared.filter(|_| is_due) {
                    second = Some(Box::pin(async move {
                        let outcome = self.sent(prepared).await;
                        drop(spare);
                        outcome
                    }));
                }
            }
        })
        .await;
        if answer.is_ok() {
            course.answered(winner);
            if let Some(failed) = failed {
                failed.discard();
            }
        }
        answer
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

    /// One attempt, on the next upstream.
    async fn once(&self) -> Result<Answer, Fail> {
        match self.prepared(&self.put_off()) {
            Ok(prepared) => self.sent(prepared).await,
            Err(fail) => {
                self.activity.request_body(false);
                Err(fail)
            }
        }
    }

    /// All that a hedge needs, and its place. None if it can't be sent now; nobody is asked sooner than it has said for one.
    fn hedge(&self) -> Option<(Permit, Prepared<'_>)> {
        let put_off = self.put_off();
        if put_off.len() == self.route.group.all().len() {
            return None;
        }
        let spare = self.route.spare()?;
        Some((spare, self.prepared(&put_off).ok()?))
    }

    /// The upstreams that have asked to be left alone for now.
    fn put_off(&self) -> Vec<usize> {
        self.state().put_off(self.route.time.now()).map(|(upstream, _)| upstream).collect()
    }

    /// What is sent next, and where to. Dropped, nothing of it has happened but that an upstream whose answer would come too late is not
    /// asked any more.
    fn prepared(&self, put_off: &[usize]) -> Result<Prepared<'_>, Fail> {
        let route = self.route;
        let now = route.time.now();
        let until = route.until(now, self.way.deadline);
        loop {
            let tried = self.state().tried.clone();
            let Some((chosen, upstream, place)) = route.group.enter(&tried, put_off) else {
                return Err(Fail::Idle);
            };
            let is_new = !tried.contains(&chosen);
            match self.request(upstream, until) {
                Ok(Some(request)) => return Ok(Prepared { chosen, upstream, place, request }),
                Ok(None) => return Err(Fail::Idle),
                // The answer of another may take less.
                Err(_) if is_new => {
                    self.state().tried.push(chosen);
                    let left_out = self.said.begun(chosen, self.activity.moment());
                    self.said.failed(left_out, "its deadline-reserve leaves it no time");
                }
                Err(refusal) => return Err(Fail::Error(refusal, true)),
            }
        }
    }

    async fn sent(&self, prepared: Prepared<'_>) -> Result<Answer, Fail> {
        let outcome = self.answered(prepared).await;
        if outcome.is_err() {
            // Until somebody reads on, the client is not waited for: what is kept of its body keeps the note as well. Where
            // several read, all of it is here.
            self.activity.request_body(false);
        }
        outcome
    }

    async fn answered(&self, prepared: Prepared<'_>) -> Result<Answer, Fail> {
        let route = self.route;
        let now = route.time.now();
        let Prepared { chosen, upstream, mut place, request } = prepared;
        place.begin();
        {
            let mut state = self.state();
            if !state.tried.contains(&chosen) {
                state.tried.push(chosen);
            }
        }
        count(&route.counts.attempts);
        let began = self.activity.moment();
        let attempt = self.said.begun(chosen, began);
        // Without a timeout nothing has an end of its own.
        let timeout = route.timeout.unwrap_or_default();
        let late = || match self.activity.awaits_request_body() {
            true => UpstreamError::ClientSlow(timeout),
            false => UpstreamError::Slow(timeout),
        };
        let until = route.timeout.map(|timeout| now.saturating_add(nanos(timeout)));
        // Where retries are counted, every time it is sent is one of them.
        let copy = if route.retry.is_some() { |_: &Request<RequestBody>| None } else { repeatable };
        let sends = |is_sent: bool| {
            let mut state = self.state();
            state.unanswered =
                if is_sent { state.unanswered + 1 } else { state.unanswered.saturating_sub(1) };
        };
        let terms = Terms { copy, until, late: &late, reached: &|| place.reached(), sends: &sends };
        let sent = upstream.send_on(self.way.worker, request, terms).await;
        match sent {
            Ok((head, mut exchange)) => {
                place.reached();
                sends(false);
                if let Some(error) = self.unfit(&head) {
                    self.said.failed(attempt, &error);
                    return Err(Fail::Error(Refusal::Upstream(error), false));
                }
                exchange.hold(place);
                if head.status() == StatusCode::CONFLICT && self.has_key && self.state().unanswered > 0 {
                    self.said.failed(attempt, "409, as it still works on an earlier attempt");
                    let wait = retry_after(head.headers());
                    let at = wait.map(|wait| route.time.now().saturating_add(nanos(wait)));
                    let mut state = self.state();
                    state.back_at = state.back_at.max(at);
                    drop(state);
                    return Err(Fail::Runs(Box::new((head, exchange))));
                }
                if route.on.contains(&On::Status(head.status())) {
                    self.said.failed(attempt, head.status());
                    if route.drops.contains(&head.status()) {
                        self.said.drops(self.activity.had_since(began));
                    }
                    let at =
                        retry_after(head.headers()).map(|wait| route.time.now().saturating_add(nanos(wait)));
                    self.state().tell(chosen, at);
                    return Err(Fail::Answer(Box::new((head, exchange))));
                }
                Ok((head, exchange))
            }
            Err(Unanswered { error, unsent }) => {
                match &error {
                    UpstreamError::Connect(_) | UpstreamError::ConnectTimeout(_) => place.unreachable(),
                    // Over a connection that was kept, nobody knows whether it was reached.
                    UpstreamError::Slow(_) | UpstreamError::ClientSlow(_) | UpstreamError::ClientBody(_) => {}
                    _ => place.reached(),
                }
                self.said.failed(attempt, &error);
                // Nobody but the service makes a connection late.
                let is_unreachable = matches!(error, UpstreamError::ConnectTimeout(_));
                let had = self.activity.had_since(began);
                let is_fault = || is_unreachable || route.rule.blames_service(&self.activity, had);
                if took_too_long(&error) && is_fault() {
                    self.said.drops(had);
                }
                let is_unsent = unsent.is_some();
                if let Some(request) = unsent {
                    self.body.give_back(request.into_body());
                }
                Err(Fail::Error(Refusal::Upstream(error), is_unsent))
            }
        }
    }

    /// Why an answer can't be passed on.
    fn unfit(&self, head: &Response<()>) -> Option<UpstreamError> {
        let switches = head.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !self.headers.contains_key(header::UPGRADE) {
            return Some(UpstreamError::Switched);
        }
        (!can_pass(head.headers())).then_some(UpstreamError::Coding)
    }

    /// The request for this upstream; none if its body is gone.
    fn request(&self, upstream: &Upstream, until: u64) -> Result<Option<Request<RequestBody>>, Refusal> {
        let mut headers = self.headers.clone();
        if self.without_host {
            headers.insert(header::HOST, upstream.own_host.clone());
        }
        upstream.tell_time_left(&mut headers, until)?;
        let Some(body) = self.body.next() else { return Ok(None) };
        Ok(Some(outgoing(self.method.clone(), self.target.clone(), headers, body)))
    }
}
