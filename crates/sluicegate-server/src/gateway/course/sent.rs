//! One attempt, from its being sent up to its answer.

use http::header;
use http::{Request, Response, StatusCode};
use sluicegate::clock::{Clock, nanos};
use sluicegate_tower::http::judge::retry_after;

use super::super::body::RequestBody;
use super::super::forward::repeatable;
use super::super::headers::can_pass;
use super::super::metrics::count;
use super::super::places::took_too_long;
use super::super::refusal::Refusal;
use super::super::upstream::{Terms, Unanswered, UpstreamError};
use super::fail::Fail;
use super::prepared::Prepared;
use super::{Answer, Course};
use crate::config::attempts::On;

impl Course<'_> {
    /// One attempt, on the next upstream.
    pub(super) async fn once(&self) -> Result<Answer, Fail> {
        match self.prepared(&self.put_off()) {
            Ok(prepared) => self.sent(prepared).await,
            Err(fail) => {
                self.activity.request_body(false);
                Err(fail)
            }
        }
    }

    /// What was prepared, sent.
    pub(super) async fn sent(&self, prepared: Prepared<'_>) -> Result<Answer, Fail> {
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
}
