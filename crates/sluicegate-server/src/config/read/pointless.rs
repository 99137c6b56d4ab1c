//! What is right, but most likely not meant: settings that have no effect beside the others, and bodies without a bound. The one place, for
//! the file and the command line.

mod queues;

use std::time::Duration;

use http::{HeaderMap, Uri};

use crate::config::attempts::{After, AttemptSettings, On, replay_text};
use crate::config::queue::QueueSettings;
use crate::config::settings::{RouteSettings, Settings};

/// A setting that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointless {
    /// Which, as a path.
    pub(crate) setting: String,
    /// Why, as a sentence without its dot.
    pub(crate) why: String,
    /// What would be right, to be read after "expected".
    pub(crate) expected: String,
}

/// Where settings are said, and what they are called there.
pub(crate) trait Said {
    /// Whether this one is said there at all: what is left out nobody meant.
    fn is_said(&self, setting: &str) -> bool;

    /// What it is called: `order`, `--queue-order`.
    fn name(&self, setting: &str) -> String;

    /// Which of two texts is for here.
    fn pick<'a>(&self, in_file: &'a str, by_flags: &'a str) -> &'a str;

    /// Its name and an article.
    fn one(&self, setting: &str) -> String {
        let name = self.name(setting);
        let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("{article} `{name}`")
    }
}

/// All that has no effect, of what is said.
pub(crate) fn pointless(settings: &Settings, said: &impl Said) -> Vec<Pointless> {
    let mut found = Found { said, all: Vec::new() };
    for upstream in settings.upstreams.iter().filter(|upstream| upstream.deadline_header.is_none()) {
        let setting = format!("upstream.{}.deadline-reserve", upstream.name);
        let expected = "a `deadline-header` besides, in which the upstream is told";
        found.add(&setting, "without a `deadline-header`, nothing is told", expected);
    }
    if settings.identity.trusted_proxies.is_empty() {
        let expected = said.pick("`trusted-proxies` besides", "a `--trusted-proxy` besides");
        found.add("forwarded-header", "nobody is believed in it, as there is no trusted proxy", expected);
    }
    if settings.limits.is_empty() {
        found.add("max-keys", "there is no limit that would keep keys", "a `--limit` besides");
    }
    settings.queues.iter().for_each(|queue| queues::of_queue(queue, settings, &mut found));
    for route in &settings.routes {
        let queue = settings.queues.iter().find(|queue| queue.name == route.queue);
        of_route(route, queue, &mut found);
        queues::of_share(route, queue, settings, &mut found);
        queues::of_the_rest(route, queue, settings, &mut found);
        same_url(settings, route, &mut found);
    }
    found.all
}

/// What was found so far.
struct Found<'s, S> {
    said: &'s S,
    all: Vec<Pointless>,
}

impl<S: Said> Found<'_, S> {
    fn add(&mut self, setting: &str, why: &str, expected: &str) {
        if self.said.is_said(setting) {
            let [setting, why, expected] = [setting, why, expected].map(str::to_owned);
            self.all.push(Pointless { setting, why, expected });
        }
    }

    /// Of the first of these that is said.
    fn add_first(&mut self, settings: &[String], why: &str, expected: &str) {
        if let Some(setting) = settings.iter().find(|setting| self.said.is_said(setting)) {
            self.add(setting, why, expected);
        }
    }
}

fn of_route(route: &RouteSettings, queue: Option<&QueueSettings>, found: &mut Found<'_, impl Said>) {
    let said = found.said;
    let at = |setting: &str| format!("route.{}.{setting}", route.name);
    let attempts = &route.attempts;
    let on_timeout = attempts.retry.as_ref().is_some_and(|retry| retry.on.contains(&On::Timeout));
    if on_timeout && attempts.timeout.is_none() {
        // Where nothing is said it is there too, and nobody meant it: of that nothing is told.
        let why =
            "without an `attempt-timeout`, no attempt ends before the deadline, and `timeout` never comes";
        found.add(&at("retry.on"), why, "an `attempt-timeout` besides, or no `timeout` in it");
    }
    if let Some((first, timeout)) = late_hedge(attempts) {
        let why = format!(
            "until the percentile is known, a hedge is sent after {first:?}, and the attempt-timeout, {timeout:?}, is over before"
        );
        let less = format!("a `first` of less, as in `{{ percentile = 95, first = \"{:?}\" }}`", timeout / 2);
        let expected = said.pick(&less, "a longer `--attempt-timeout`, or a time in place of the percentile");
        found.add_first(&["hedge.first", "hedge"].map(at), &why, expected);
    }
    if let Some(hedge) = attempts.hedge.as_ref().filter(|_| is_never_hedged(route)) {
        let why = if hedge.methods.is_empty() {
            "the route's `methods` are none that may be under way twice: GET, HEAD, OPTIONS and TRACE may"
        } else {
            "the route's `methods` are none of the `methods` of its `hedge`"
        };
        let expected = "one of those in both, or no `hedge`";
        found.add_first(&["hedge.methods", "hedge"].map(at), why, expected);
    }
    let is_sent_again = attempts.retry.is_some() || attempts.hedge.is_some();
    if !is_sent_again {
        let [retry, hedge, replay] = ["retry", "hedge", "replay"].map(|setting| said.name(&at(setting)));
        let why = format!("without `{retry}` or `{hedge}`, no body is sent again");
        found.add(&at("replay"), &why, &format!("one of them besides, or no `{replay}`"));
    }
    let most = queue.and_then(|queue| queue.concurrency.most());
    if attempts.hedge.is_some() && most == Some(1) {
        let [places, hedge] =
            [format!("queue.{}.concurrency", route.queue), at("hedge")].map(|setting| said.name(&setting));
        let why =
            format!("a hedge needs a second place, and the queue has a `{places}` of 1: there is never one");
        found.add(&at("hedge"), &why, &format!("a larger `{places}`, or no `{hedge}`"));
    }
    if is_sent_again && attempts.replay > 0 && most.is_none() {
        let places = said.one(&format!("queue.{}.concurrency", route.queue));
        let why = format!(
            "up to {} of each body is kept, and nothing bounds how many, without {places}",
            replay_text(attempts.replay)
        );
        let expected = said.pick(
            "a queue with it, as in `queue = { concurrency = 64 }`, or `replay = \"0\"`",
            "one, such as `--concurrency 64`, or `--replay 0`",
        );
        found.add_first(&["replay", "retry", "hedge"].map(at), &why, expected);
    }
}

/// Whether all that the route is for goes once at a time.
fn is_never_hedged(route: &RouteSettings) -> bool {
    let methods = &route.matches.methods;
    let may_hedge = |method| route.attempts.may_hedge(method, &HeaderMap::new());
    !methods.is_empty() && !methods.iter().any(may_hedge)
}

/// When a hedge is sent until the percentile is known, and when the attempt is over, if that is before.
fn late_hedge(attempts: &AttemptSettings) -> Option<(Duration, Duration)> {
    let (hedge, timeout) = (attempts.hedge.as_ref()?, attempts.timeout?);
    match hedge.after {
        After::Percentile { first, .. } if first >= timeout => Some((first, timeout)),
        // Of a time that is fixed, the check has said so.
        After::Percentile { .. } | After::Fixed(_) => None,
    }
}

/// What one upstream fails at another one is to make good.
fn same_url(settings: &Settings, route: &RouteSettings, found: &mut Found<'_, impl Said>) {
    let attempts = &route.attempts;
    if attempts.retry.is_none() && attempts.hedge.is_none() {
        return;
    }
    let urls: Vec<_> = route.upstreams.iter().map(|name| url(settings, name)).collect();
    for (at, url) in urls.iter().enumerate() {
        if let Some(earlier) = urls[..at].iter().position(|earlier| earlier == url) {
            let earlier = &route.upstreams[earlier];
            let why =
                format!("`{earlier}` has the same `url`: whoever asks the other one asks the same again");
            let setting = format!("route.{}.upstreams.{at}", route.name);
            found.add(&setting, &why, "another service for each");
        }
    }
}

fn url<'a>(settings: &'a Settings, upstream: &str) -> Option<&'a Uri> {
    settings.upstreams.iter().find(|known| known.name == *upstream).map(|known| &known.url)
}
