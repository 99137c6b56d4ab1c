//! What an attempt sends, and where to.

use std::sync::Arc;

use http::Request;
use http::header;
use sluicegate::clock::Clock;

use super::super::body::RequestBody;
use super::super::choice::Place;
use super::super::forward::outgoing;
use super::super::refusal::Refusal;
use super::super::upstream::Upstream;
use super::Course;
use super::fail::Fail;

/// An attempt that can be sent.
pub(super) struct Prepared<'a> {
    /// Its number in the route's group.
    pub(super) chosen: usize,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) place: Place,
    pub(super) request: Request<RequestBody>,
}

impl Course<'_> {
    /// The upstreams that have asked to be left alone for now.
    pub(super) fn put_off(&self) -> Vec<usize> {
        self.state().put_off(self.route.time.now()).map(|(upstream, _)| upstream).collect()
    }

    /// What is sent next, and where to. Dropped, nothing of it has happened but that an upstream whose answer would come too late is not
    /// asked any more.
    pub(super) fn prepared(&self, put_off: &[usize]) -> Result<Prepared<'_>, Fail> {
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
