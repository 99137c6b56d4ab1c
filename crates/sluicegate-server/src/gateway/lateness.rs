//! Whose fault it is that an answer is late: of the service is learned only from what was in its hands.
//!
//! A client could make a queue with a limit that is found out as narrow as it likes otherwise, by waiting for no time, or by sending
//! its body slowly, all but the end of which may come just before the deadline. So a request, or one attempt at it, that is late counts as
//! dropped only where the service had it for long; the time that its client was waited for is not included. What is long goes by whose time
//! was over, the operator's (the route's deadline, or an attempt's timeout) or what the client left of it:
//!
//! | the service had it | dropped |
//! |---|---|
//! | for nearly all of the operator's time: three quarters | always: it is late by the operator's word, whatever good answers take |
//! | for as long as a good answer takes there ([`Permits::is_long`]) | where the client left nearly all of the operator's time: the rest went by in our own line |
//! | for as long as that, and for half of what the route allows ([`RouteSettings::long_without_answer`]) | in any case |
//!
//! So a client that says that it waits for less, or takes long to send its body, never has the service blamed for work that is always longer
//! than others', nor where all say so and only the quick answers are good, which makes the mean a short one.
//!
//! Where no good answer is known, half of what the route allows is long. A service that does not take what has been sent is late by its own
//! fault. Where the client is waited for when the time is over, the service has done all that it could.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use sluicegate::clock::nanos;
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
    /// What is long where no good answer is known, or where a client left less than the operator.
    long: u64,
    /// The operator's times: a request's, and an attempt's. In nanoseconds, as all of these are.
    deadline: u64,
    timeout: Option<u64>,
}

impl Rule {
    /// Of a route that has places of these.
    #[must_use]
    pub fn of(places: &Places, route: &RouteSettings) -> Self {
        Self {
            permits: places.permits.clone(),
            partition: places.partition(route),
            long: nanos(route.long_without_answer()),
            deadline: nanos(route.deadline),
            timeout: route.attempts.timeout.map(nanos),
        }
    }

    /// Whether the service is to blame for an attempt that its timeout has ended, and which it had for so many nanoseconds.
    #[must_use]
    pub fn blames_service(&self, activity: &Activity, had: u64) -> bool {
        // No line is waited in meanwhile: what the service did not have, the client took.
        !activity.is_client_waited_for() && self.is_long(had, self.timeout.unwrap_or(self.deadline), had)
    }

    /// For how long the service had a request whose deadline has passed, or the attempt at it that it had longest, if it is to blame for
    /// that one; none if it is to blame for none. So many nanoseconds after it came it was to be answered.
    #[must_use]
    pub fn fault(&self, activity: &Activity, said: Option<&Said>, allowed: u64) -> Option<Duration> {
        // Each attempt on its own: what its client took before it began is not its client's fault.
        let since = |moment| (activity.had_since(moment), activity.waited_since(moment));
        let under_way = match said {
            Some(said) => said.under_way().into_iter().map(since).max(),
            None => activity.admission().map(since),
        };
        let is_long =
            |(had, waited): &(u64, u64)| self.is_long(*had, self.deadline, allowed.saturating_sub(*waited));
        let late = under_way.filter(is_long).filter(|_| !activity.is_client_waited_for());
        let late = late.map(|(had, _)| Duration::from_nanos(had));
        late.max(said.and_then(Said::dropped))
    }

    /// Whether so much is long, where a time of the operator's is over of which the client left so much. The one place.
    fn is_long(&self, had: u64, time: u64, left: u64) -> bool {
        let nearly_all = time - time / 4;
        had >= nearly_all || ((left >= nearly_all || had >= self.long) && self.has_answered_in(had))
    }

    /// Whether a good answer takes no longer, as far as that is known.
    fn has_answered_in(&self, had: u64) -> bool {
        let [had, long] = [had, self.long].map(Duration::from_nanos);
        self.permits.is_long(self.partition, had, long)
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
        let (activity, said, allowed) = (Arc::clone(&asked.activity), asked.said.clone(), asked.allowed());
        BlameFuture { inner: self.inner.call(asked), activity, said, allowed, rule: Arc::clone(&self.rule) }
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
        // How much time it had, in nanoseconds.
        allowed: u64,
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
        if let Some(had) = this.rule.fault(this.activity, this.said.as_deref(), *this.allowed) {
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

    /// What the route allows, and an attempt of its.
    const DEADLINE: u64 = 30_000 * MS;
    const TIMEOUT: u64 = 1000 * MS;

    /// Good answers took so many milliseconds each; where none did, 500 are long.
    fn rule(good: impl IntoIterator<Item = u64>) -> Rule {
        let limit = concurrency::Settings::default().with_limits(4, 4).unwrap();
        let settings = Settings::new(4, queue::Settings::new(0)).adaptive(limit, Fixed);
        let time = ManualTime::new();
        let permits = Permits::with(settings, time.clone());
        for good in good {
            let permit = permits.try_enter().unwrap();
            time.advance(Duration::from_millis(good));
            permit.end(Outcome::Good);
        }
        Rule { permits, partition: 0, long: TIMEOUT / 2, deadline: DEADLINE, timeout: Some(TIMEOUT) }
    }

    /// Whether the service is to blame that had one for so many milliseconds, of which the client allowed so many.
    fn is_blamed(rule: &Rule, had: u64, allowed: u64) -> bool {
        let activity = admitted();
        turn(&activity, 10 + had);
        rule.fault(&activity, None, allowed * MS).is_some()
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
        assert_eq!(rule(None).fault(&activity, None, DEADLINE), None, "it never had it");
        let activity = admitted();
        for (at, good, fault) in [
            (109, Some(100), None),
            (110, Some(100), millis(100)),
            (509, None, None),
            (510, None, millis(500)),
            (999, Some(1000), None),
        ] {
            turn(&activity, at);
            assert_eq!(rule(good).fault(&activity, None, DEADLINE), fault, "{at} ms, {good:?}");
        }
    }

    /// However little a good answer takes.
    #[test]
    fn a_client_that_is_waited_for_is_to_blame() {
        let (rule, activity) = (rule(Some(0)), admitted());
        turn(&activity, 20);
        assert_eq!(rule.fault(&activity, None, DEADLINE), millis(10));
        activity.request_body(true);
        turn(&activity, 3000);
        assert_eq!(rule.fault(&activity, None, DEADLINE), None, "it sends nothing");
        activity.request_body(false);
        assert_eq!(rule.fault(&activity, None, DEADLINE), None, "nobody has had it since");
        turn(&activity, 3001);
        assert_eq!(rule.fault(&activity, None, DEADLINE), millis(11), "the service takes no more");
    }

    #[test]
    fn each_attempt_is_measured_on_its_own() {
        let (rule, activity, said) = (rule(Some(200)), admitted(), Said::default());
        let fault = |said: &Said| rule.fault(&activity, Some(said), DEADLINE);
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
        assert_eq!(rule.fault(&activity, Some(&said), DEADLINE), millis(20));
        said.begun(0, activity.moment());
        turn(&activity, 300);
        assert_eq!(rule.fault(&activity, Some(&said), DEADLINE), millis(290));
    }

    /// Each comes to nothing soon, where work that is always longer is asked for with a deadline that is too short for it.
    #[test]
    fn a_client_that_waits_for_less_than_its_work_takes_has_nobody_blamed() {
        let rule = rule([20; 16]);
        assert!(!is_blamed(&rule, 25, 35), "others' answers take 20 ms");
        assert!(!is_blamed(&rule, 499, 510));
        assert!(is_blamed(&rule, 500, 510), "what the operator calls long");
        assert!(is_blamed(&rule, 25, 30_000), "our own line took the rest");
        assert!(
            is_blamed(&rule, 25, 22_500) && !is_blamed(&rule, 25, 22_499),
            "nearly all of what the route allows"
        );
    }

    /// Most answers are the quick ones that say that there is nothing.
    #[test]
    fn quick_answers_have_no_usual_work_blamed() {
        let rule = rule([300, 300].into_iter().chain([0; 64]));
        assert!(!is_blamed(&rule, 200, 210), "the mean is that of the quick ones");
        assert!(is_blamed(&rule, 500, 510));
    }

    /// Only what is done by then is good, so that a good answer takes less, whatever others take.
    #[test]
    fn a_service_is_not_blamed_where_all_clients_wait_for_less_than_it_often_takes() {
        let allowed = 100;
        let rule = rule((1..=16).map(|at| at * allowed / 16));
        assert!(!is_blamed(&rule, allowed, allowed), "the mean is a short one");
    }

    /// With a body all but the end of which comes late, there is as little time left as a client says that there is.
    #[test]
    fn a_client_that_takes_most_of_the_time_itself_has_nobody_blamed() {
        let rule = rule([20; 16]);
        for (waited, had, [late, slow]) in [
            // Of the route's deadline, and of an attempt's timeout.
            (29_975, 25, [false, false]),
            (975, 25, [true, false]),
            (501, 499, [true, false]),
            (500, 500, [true, true]),
        ] {
            let activity = admitted();
            activity.request_body(true);
            turn(&activity, 10 + waited);
            activity.request_body(false);
            turn(&activity, 10 + waited + had);
            let blamed =
                (rule.fault(&activity, None, DEADLINE).is_some(), rule.blames_service(&activity, had * MS));
            assert_eq!(blamed, (late, slow), "{waited} ms, {had} ms");
        }
    }

    /// A few good answers that took long would hide for long that a service hangs.
    #[test]
    fn a_service_that_had_it_for_the_operators_time_is_to_blame_whatever_others_took() {
        let rule = rule([60_000; 16]);
        let activity = admitted();
        turn(&activity, 20);
        for (had, blamed) in [(749, false), (750, true), (1000, true)] {
            assert_eq!(rule.blames_service(&activity, had * MS), blamed, "an attempt, {had} ms");
        }
        for (had, allowed, blamed) in
            [(22_499, 30_000, false), (22_500, 30_000, true), (20_000, 20_000, false)]
        {
            assert_eq!(is_blamed(&rule, had, allowed), blamed, "{had} of {allowed} ms");
        }
    }
}
