//! Whose fault it is that an answer is late: of the service is learned only from what was in its hands.
//!
//! A client could make a queue with a limit that is found out as narrow as it likes otherwise, by waiting for no time, or by sending
//! its body slowly, all but the end of which may come just before the deadline. So a request, or one attempt at it, that is late counts as
//! dropped where the service had it for as long as a good answer takes there ([`Permits::is_long`]); the time that its client was waited for is
//! not included. A service that does not take what has been sent is late by its own fault. Where the client is waited for when the time is
//! over, the service has done all that it could.
//!
//! Where no good answer is known, half of what the route allows is long. There a client that waits for less, or takes longer than that itself, says nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate::permits::Permits;
use sluicegate_tower::admission::Admission;
use tower_service::Service;

use super::activity::Activity;
use super::places::Places;
use super::request::Asked;
use super::said::Said;
use crate::config::settings::RouteSettings;

/// When the service is to blame for what is late on a route.
#[derive(Clone, Debug)]
pub struct Rule {
    permits: Permits,
    /// Which part of them is the route's.
    partition: usize,
    /// What is long where no good answer is known.
    long: Duration,
}

impl Rule {
    /// Of a route that has places of these.
    #[must_use]
    pub fn of(places: &Places, route: &RouteSettings) -> Self {
        Self {
            permits: places.permits.clone(),
            partition: places.partition(route),
            long: route.long_without_answer(),
        }
    }

    /// Whether the service is to blame for what is late now, and has had it for so many nanoseconds.
    #[must_use]
    pub fn blames_service(&self, activity: &Activity, had: u64) -> bool {
        let had = Duration::from_nanos(had);
        !activity.is_client_waited_for() && self.permits.is_long(self.partition, had, self.long)
    }

    /// For how long the service had a request that is late now, or the attempt at it that it had longest, if it is to blame for that one;
    /// none if it is to blame for none.
    #[must_use]
    pub fn fault(&self, activity: &Activity, said: Option<&Said>) -> Option<Duration> {
        let since = |moment| activity.had_since(moment);
        let under_way = match said {
            Some(said) => said.under_way().into_iter().map(since).max(),
            None => activity.admission().map(since),
        };
        let late = under_way.filter(|had| self.blames_service(activity, *had)).map(Duration::from_nanos);
        late.max(said.and_then(Said::dropped))
    }
}

/// Tells a queue of a deadline that has passed only where the service is to blame. To others it is a client that has left.
#[derive(Clone, Debug)]
pub struct Blame<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S> Blame<S> {
    /// Over this queue.
    #[must_use]
    pub const fn over(inner: S, rule: Arc<Rule>) -> Self {
        Self { inner, rule }
    }
}

impl<S: Service<Box<Asked>>> Service<Box<Asked>> for Blame<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = BlameFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, asked: Box<Asked>) -> Self::Future {
        let (activity, said) = (Arc::clone(&asked.activity), asked.said.clone());
        BlameFuture { inner: self.inner.call(asked), activity, said, rule: Arc::clone(&self.rule) }
    }
}

pin_project! {
    /// A request in the queue, or at the service. As cancel-safe as that.
    #[derive(Debug)]
    #[must_use = "a future does nothing unless polled"]
    pub struct BlameFuture<F> {
        #[pin]
        inner: F,
        // Where it is noted for how long its client was waited for, and what came of its attempts.
        activity: Arc<Activity>,
        said: Option<Arc<Said>>,
        rule: Arc<Rule>,
    }
}

impl<F: Future> Future for BlameFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(context)
    }
}

impl<F: Admission> Admission for BlameFuture<F> {
    fn admitted(&self) -> bool {
        self.inner.admitted()
    }

    fn late(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(had) = this.rule.fault(this.activity, this.said.as_deref()) {
            this.inner.dropped_after(had);
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate::concurrency::{self, Fixed, Outcome};
    use sluicegate::permits::Settings;
    use sluicegate::queue;
    use sluicegate::timer::ManualTime;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A good answer took so many milliseconds; where none did, 500 are long.
    fn rule(good: Option<u64>) -> Rule {
        let limit = concurrency::Settings::default().with_limits(4, 4).unwrap();
        let settings = Settings::new(4, queue::Settings::new(0)).adaptive(limit, Fixed);
        let time = ManualTime::new();
        let permits = Permits::with(settings, time.clone());
        if let Some(good) = good {
            let permit = permits.try_enter().unwrap();
            time.advance(Duration::from_millis(good));
            permit.end(Outcome::Good);
        }
        Rule { permits, partition: 0, long: Duration::from_millis(500) }
    }

    /// A request that had its place 10 ms after it came.
    fn admitted() -> Arc<Activity> {
        let activity = Activity::stream(0);
        activity.turn(10 * MS);
        activity.request_is_admitted();
        activity
    }

    /// It is this late.
    fn turn(activity: &Activity, millis: u64) {
        activity.turn(millis * MS);
    }

    const fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn a_service_that_had_it_for_as_long_as_a_good_answer_takes_is_to_blame() {
        let activity = Activity::stream(0);
        turn(&activity, 5000);
        assert_eq!(rule(None).fault(&activity, None), None, "it never had it");
        let activity = admitted();
        for (at, good, fault) in [
            (109, Some(100), None),
            (110, Some(100), millis(100)),
            (509, None, None),
            (510, None, millis(500)),
            (999, Some(1000), None),
        ] {
            turn(&activity, at);
            assert_eq!(rule(good).fault(&activity, None), fault, "{at} ms, {good:?}");
        }
    }

    /// However little a good answer takes.
    #[test]
    fn a_client_that_is_waited_for_is_to_blame() {
        let (rule, activity) = (rule(Some(0)), admitted());
        turn(&activity, 20);
        assert_eq!(rule.fault(&activity, None), millis(10));
        activity.request_body(true);
        turn(&activity, 3000);
        assert_eq!(rule.fault(&activity, None), None, "it sends nothing");
        activity.request_body(false);
        assert_eq!(rule.fault(&activity, None), None, "nobody has had it since");
        turn(&activity, 3001);
        assert_eq!(rule.fault(&activity, None), millis(11), "the service takes no more");
    }

    #[test]
    fn each_attempt_is_measured_on_its_own() {
        let (rule, activity, said) = (rule(Some(200)), admitted(), Said::default());
        let fault = |said: &Said| rule.fault(&activity, Some(said));
        turn(&activity, 1000);
        assert_eq!(fault(&said), None, "none has begun");
        let first = said.begun(0, activity.moment());
        activity.request_body(true);
        turn(&activity, 3000);
        activity.request_body(false);
        turn(&activity, 3150);
        assert_eq!(fault(&said), None, "it had it for 150 ms");
        said.failed(first, "broken");
        turn(&activity, 4000);
        assert_eq!(fault(&said), None, "between two of them nobody has it");
        let _second = said.begun(1, activity.moment());
        turn(&activity, 4199);
        assert_eq!(fault(&said), None);
        turn(&activity, 4200);
        assert_eq!(fault(&said), millis(200));
        let _hedge = said.begun(0, activity.moment());
        turn(&activity, 4300);
        assert_eq!(fault(&said), millis(300), "the one that has it longest");
    }

    /// It stays so, whatever becomes of those after it.
    #[test]
    fn what_was_dropped_once_is_the_services_fault() {
        let (rule, activity, said) = (rule(Some(200)), admitted(), Said::default());
        said.drops(20 * MS);
        said.drops(10 * MS);
        assert_eq!(rule.fault(&activity, Some(&said)), millis(20));
        said.begun(0, activity.moment());
        turn(&activity, 300);
        assert_eq!(rule.fault(&activity, Some(&said)), millis(290));
    }
}
