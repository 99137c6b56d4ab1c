//! The places at an upstream, and the line for them: what an operator says of them, as the library's permits have it; who asks for
//! one, and what is learned from what came of it.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sluicegate::clock::nanos;
use sluicegate::concurrency::{self, Change, Knee, Why};
use sluicegate::permits::{self, Permits};
use sluicegate::queue::{self, Codel};
use sluicegate::timer::TokioTime;
use sluicegate_tower::throttle::{Accepts, Answer};
use sluicegate_tower::who::{Asks, Who};

use super::body::UpstreamBody;
use super::refusal::{Denial, Refusal};
use super::request::Asked;
use super::upstream::UpstreamError;
use crate::config::identity::masked;
use crate::config::limit::{KeyPart, KeyParts};
use crate::config::paths::Readings;
use crate::config::queue::{AdaptiveSettings, Concurrency, Order, QueueSettings, WhenFull};
use crate::config::settings::{RouteSettings, Share};

/// A queue and the places behind it.
#[derive(Clone, Debug)]
pub struct Places {
    /// As an operator set it.
    pub settings: QueueSettings,
    /// Outlives a configuration.
    pub permits: Permits,
    /// The parts of the places that are kept for routes, by the routes' names.
    pub shares: Vec<(String, Share)>,
    /// Has the same client stand in the same line, also after a change of the configuration.
    hasher: RandomState,
    /// How many places were logged last; zero before the first.
    logged: Arc<AtomicUsize>,
}

impl Places {
    /// As these settings say, which have been checked. What is in use `before` under the same name is taken over as it is, until
    /// it is told to [change](Self::apply).
    #[must_use]
    pub fn new(
        settings: &QueueSettings,
        mut shares: Vec<(String, Share)>,
        before: Option<&Self>,
        time: TokioTime,
    ) -> Self {
        // So that routes may change their order in the file.
        shares.sort();
        if settings.concurrency == Concurrency::Any {
            // Of as many as come there is no part.
            shares.clear();
        }
        let permits = match before {
            Some(before) => before.permits.clone(),
            None => Permits::with(made(settings, &shares), time),
        };
        // Who came under this configuration goes by its numbers, whatever comes meanwhile.
        let permits = permits.numbered_by(shares.iter().map(|(name, _)| name.clone()).collect());
        match before {
            Some(before) => Self { settings: settings.clone(), permits, shares, ..before.clone() },
            None => Self {
                settings: settings.clone(),
                permits,
                shares,
                hasher: RandomState::new(),
                logged: Arc::default(),
            },
        }
    }

    /// Logs how many places were found to be right, if it is not about as many as when it was last logged. A search tries a few less now
    /// and then, of which nothing is told.
    pub fn log_change(&self) {
        let standing = self.permits.standing();
        let Concurrency::Adaptive(_) = self.settings.concurrency else { return };
        let Some(Change { from, to, why }) = standing.change else { return };
        let limit = usize::try_from(if why == Why::Dip { from } else { to }).unwrap_or(usize::MAX);
        let (queue, changes) = (&self.settings.name, standing.changes.all());
        let before = self.logged.load(Ordering::Relaxed);
        if !is_news(before, limit) {
            return;
        }
        self.logged.store(limit, Ordering::Relaxed);
        let places = if limit == 1 { "place" } else { "places" };
        let reason = why.to_string();
        let why = why.in_words();
        tracing::info!(queue, limit, changes, reason, "the queue `{queue}` has {limit} {places} now: {why}");
    }

    /// From now on its permits are as its settings say. Who waits stays, and who is in flight. What was found out of a limit is kept while
    /// the settings of that are the same.
    pub fn apply(&self) {
        self.permits.apply(made(&self.settings, &self.shares));
    }

    /// Whether it says another thing than this one, which had its name.
    #[must_use]
    pub fn differs(&self, before: &Self) -> bool {
        self.settings != before.settings || self.shares != before.shares
    }

    /// The number of the partition that a route's requests have places of: its own, or that of all who have none.
    #[must_use]
    pub fn partition(&self, route: &RouteSettings) -> usize {
        self.shares.iter().position(|(name, _)| *name == route.name).unwrap_or(self.shares.len())
    }

    /// What a request of a route is to the line.
    #[must_use]
    pub fn asked(&self, route: &RouteSettings, ipv6_prefix: u8) -> OfQueue {
        OfQueue {
            settings: self.settings.clone(),
            route_class: route.class.clone(),
            partition: self.partition(route),
            wait: self.settings.wait.map(nanos),
            hasher: self.hasher.clone(),
            ipv6_prefix,
        }
    }

    /// What is learned from what came of a request.
    #[must_use]
    pub fn judge(&self) -> Judge {
        Judge { drops: self.settings.drops() }
    }
}

impl QueueSettings {
    /// Statuses that mean that the upstream has too much to do. Of a fixed number of places nothing is learned but how long they take.
    pub(super) fn drops(&self) -> Arc<[StatusCode]> {
        match &self.concurrency {
            Concurrency::Adaptive(AdaptiveSettings { drops, .. }) => drops.as_slice().into(),
            Concurrency::Any | Concurrency::Fixed(_) => AdaptiveSettings::default().drops.into(),
        }
    }
}

/// Whether a limit is another one than what was logged last, zero for nothing: a search moves it by one now and then, also near one.
const fn is_news(logged: usize, limit: usize) -> bool {
    let usual = if logged < 10 { 1 } else { logged / 5 };
    limit.abs_diff(logged) > usual || logged == 0
}

/// The library's settings. Where one can't be, which a check has found before, it is left out.
fn made(settings: &QueueSettings, shares: &[(String, Share)]) -> permits::Settings {
    let mut line = queue::Settings::new(settings.waiting);
    if settings.full == WhenFull::DropOldest {
        line = line.displacing_oldest();
    }
    if settings.fair.is_some() {
        line = line.fair();
    }
    let codel = settings.codel().and_then(|[target, most, interval]| Codel::new(target, most, interval).ok());
    if let Some(codel) = codel {
        let newest = settings.order == Order::CodelNewest;
        line = line.with_codel(if newest { codel.newest_first() } else { codel });
    }
    let measured = settings.wait_of_services().and_then(|services| line.clone().with_wait_of(services).ok());
    line = measured.unwrap_or(line);
    let weight = |weight: usize| u32::try_from(weight).unwrap_or(u32::MAX);
    let weights: Vec<u32> = settings.classes.iter().map(|class| weight(class.weight)).collect();
    if !weights.is_empty() {
        line = line.clone().with_classes(&weights).unwrap_or(line);
    }
    let places = settings.concurrency.most().unwrap_or(usize::MAX);
    let names = shares.iter().map(|(name, _)| name.clone()).collect();
    let made = permits::Settings::new(places, line).with_names(names);
    let parts: Vec<f64> = shares.iter().map(|(_, share)| share.as_f64()).collect();
    let bounds = |first: usize, min: usize, max: usize| {
        let [first, min, max] = [first, min, max].map(weight);
        let usual = concurrency::Settings::default();
        let bounded = usual.clone().with_limits(min, max).and_then(|s| s.with_first(first)).unwrap_or(usual);
        bounded.clone().with_shares(&parts).unwrap_or(bounded)
    };
    match &settings.concurrency {
        Concurrency::Adaptive(AdaptiveSettings { first, min, max, .. }) => {
            made.adaptive(bounds(*first, *min, *max), Knee::default())
        }
        // Of a number too, shares are kept by what counts who has which.
        Concurrency::Fixed(places) if !parts.is_empty() => {
            made.adaptive(bounds(*places, *places, *places), concurrency::Fixed)
        }
        Concurrency::Any | Concurrency::Fixed(_) => made,
    }
}

/// Who a request is to the line of its route.
#[derive(Clone, Debug)]
pub struct OfQueue {
    settings: QueueSettings,
    route_class: Option<String>,
    partition: usize,
    /// In nanoseconds.
    wait: Option<u64>,
    hasher: RandomState,
    ipv6_prefix: u8,
}

impl Asks<Box<Asked>> for OfQueue {
    fn who(&self, asked: &Box<Asked>) -> Who {
        let mut who = Who { deadline: asked.deadline, partition: self.partition, ..Who::default() };
        if let Some(wait) = self.wait {
            who.begun_by = asked.activity.now().saturating_add(wait);
        }
        if !self.settings.classes.is_empty() {
            let headers = &asked.parts.headers;
            let class = self.route_class.as_deref();
            who.class = self.settings.class(headers, asked.who.told_by.is_some(), class).0;
        }
        if let Some(key) = &self.settings.fair {
            who.key = self.key(key, asked);
        }
        who
    }
}

impl OfQueue {
    /// A number for the values of a key. Nobody outside can choose two that have the same.
    fn key(&self, key: &KeyParts, asked: &Asked) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for part in &key.0 {
            match part {
                KeyPart::Global => {}
                KeyPart::ClientIp => masked(asked.who.address, self.ipv6_prefix).hash(&mut hasher),
                KeyPart::Path => Readings::of(asked.parts.uri.path()).strict.hash(&mut hasher),
                KeyPart::Header(name) => {
                    let values: Vec<&[u8]> =
                        asked.parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                    values.hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// An attempt came to nothing because the upstream has too much to do, though another one was answered: a mark of the answer.
#[derive(Clone, Copy, Debug)]
pub struct Dropped;

/// What is learned from what came of a request: timeouts and the upstream's own refusals say that it has too much to do, answers how
/// long it takes. What is long by nature, such as a stream of events, or says nothing of the upstream's work, such as a broken
/// connection, only that it took so long.
#[derive(Clone, Debug)]
pub struct Judge {
    drops: Arc<[StatusCode]>,
}

impl Accepts<Response<UpstreamBody>, Denial> for Judge {
    fn answer(&self, outcome: Result<&Response<UpstreamBody>, &Denial>) -> Option<Answer> {
        match outcome {
            Ok(response) => self.of_head(response),
            Err(denial) if denial.dropped.is_some() || is_timeout(&denial.refusal) => Some(Answer::Refused),
            Err(_) => None,
        }
    }

    /// An answer took as long as the service had the request, all attempts at it and the pauses between them included; where there is none,
    /// as long as the upstream had it that had too much to do for it.
    fn took(&self, outcome: Result<&Response<UpstreamBody>, &Denial>) -> Option<Duration> {
        match outcome {
            Ok(response) => response.body().answered_in(),
            Err(denial) => denial.dropped,
        }
    }
}

impl Judge {
    fn of_head<B>(&self, response: &Response<B>) -> Option<Answer> {
        let says_so = self.drops.contains(&response.status());
        if says_so || response.extensions().get::<Dropped>().is_some() {
            return Some(Answer::Refused);
        }
        let is_long = response.status() == StatusCode::SWITCHING_PROTOCOLS || is_event_stream(response);
        (!is_long).then_some(Answer::Accepted)
    }
}

/// Whether an attempt that failed so took too long.
pub(super) const fn took_too_long(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Slow(_) | UpstreamError::ConnectTimeout(_))
}

/// Whose fault it is that an answer is late is known where the request is; nobody but the service makes a connection late.
const fn is_timeout(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Upstream(UpstreamError::ConnectTimeout(_)))
}

/// Whether an answer is one that says something now and then (the type of server-sent events).
pub(super) fn is_event_stream<B>(head: &Response<B>) -> bool {
    let media = head.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media.eq_ignore_ascii_case(b"text/event-stream")
}
