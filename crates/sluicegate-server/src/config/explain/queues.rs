//! What a request waits in, and as whom, in words.

use std::fmt;

use serde::{Serialize, Serializer};

use super::words::time;
use super::{Asked, PartMet};
use crate::config::identity::is_trusted;
use crate::config::queue::{AdaptiveSettings, Concurrency, PriorityFrom, QueueSettings, WhenFull};
use crate::config::settings::{IdentitySettings, RouteSettings, Settings, Share};

/// The queue a request waits in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueueMet {
    /// Its name.
    pub name: String,
    /// How many are at the upstream at once: a number, `adaptive`, or none, which is as many as come.
    #[serde(serialize_with = "places")]
    pub concurrency: Concurrency,
    /// Within what it is found out, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveMet>,
    /// How many wait.
    pub waiting: usize,
    /// For how long at the most, if not for as long as they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// For how many times what the upstream takes for a request at the most; none where that does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_of_services: Option<f64>,
    /// Who is next.
    pub order: &'static str,
    /// What is taken for an overload, how long one may have waited then, and for how long all must have waited for more than the first; none where nobody is shed for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codel: Option<[String; 3]>,
    /// Whether who has waited longest gives way where as many wait as may.
    pub drops_oldest: bool,
    /// By what requests take turns, with the values of this one; none where they don't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fair: Option<Vec<PartMet>>,
    /// The part of the places that is kept for its route; none where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// The part that is kept for other routes, where none is for its own; none where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_for_others: Option<f64>,
    /// How many of a fixed number are kept so, for its route or for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places_kept: Option<usize>,
    /// Its class; none where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassMet>,
    /// The status for those that are turned away.
    pub reject_status: u16,
}

/// Within what a limit is found, and what it is learned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdaptiveMet {
    /// It begins with this.
    pub first: usize,
    /// It does not fall below this.
    pub min: usize,
    /// It does not rise above this.
    pub max: usize,
    /// Statuses of the upstream's that mean it has too much to do.
    pub drops: Vec<u16>,
    /// A timeout is one if the service had the request for as long as good answers take there, and for so long where nobody knows that or
    /// the client allows less time than the route.
    pub long_without_answer: String,
}

/// The class of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassMet {
    /// Its name.
    pub name: String,
    /// Its weight, and that of all classes together.
    pub weight: (usize, usize),
    /// The field in which the request has said so, if it has and is heard.
    pub told_by: Option<String>,
    /// The field in which this request says something that is not heard, for want of a trusted proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unheard: Option<String>,
}

fn places<S: Serializer>(concurrency: &Concurrency, serializer: S) -> Result<S::Ok, S::Error> {
    match concurrency {
        Concurrency::Any => serializer.serialize_none(),
        Concurrency::Fixed(places) => places.serialize(serializer),
        Concurrency::Adaptive(_) => serializer.serialize_str("adaptive"),
    }
}

impl QueueMet {
    pub(super) fn of(
        queue: &QueueSettings,
        route: &RouteSettings,
        asked: &Asked,
        settings: &Settings,
        part: impl Fn(&crate::config::KeyPart) -> PartMet,
    ) -> Self {
        let of_it = settings.routes.iter().filter(|other| other.queue == queue.name);
        let others = of_it.filter(|_| route.share.is_none() && queue.concurrency != Concurrency::Any);
        let kept: Vec<Share> =
            route.share.into_iter().chain(others.filter_map(|other| other.share)).collect();
        let all = kept.iter().copied().try_fold(Share::percent(0), Share::and).filter(|_| !kept.is_empty());
        let places_kept = match queue.concurrency {
            // Each is rounded down on its own.
            Concurrency::Fixed(places) => all.map(|_| kept.iter().map(|share| share.of_places(places)).sum()),
            Concurrency::Any | Concurrency::Adaptive(_) => None,
        };
        Self {
            name: queue.name.clone(),
            concurrency: queue.concurrency.clone(),
            adaptive: AdaptiveMet::of(&queue.concurrency, route),
            waiting: queue.waiting,
            wait: queue.wait.map(time),
            wait_of_services: queue.wait_of_services(),
            order: queue.order.name(),
            codel: queue.codel().map(|[target, most, interval]| {
                // A line stands once all of an interval and a half have waited for too long.
                [target, most, interval.saturating_add(interval / 2)].map(time)
            }),
            drops_oldest: queue.full == WhenFull::DropOldest,
            fair: queue.fair.as_ref().map(|key| key.0.iter().map(part).collect()),
            share: route.share.map(Share::as_f64),
            kept_for_others: all.filter(|_| route.share.is_none()).map(Share::as_f64),
            places_kept,
            class: ClassMet::of(queue, route, asked, &settings.identity),
            reject_status: queue.reject_status.as_u16(),
        }
    }
}

impl AdaptiveMet {
    fn of(concurrency: &Concurrency, route: &RouteSettings) -> Option<Self> {
        let Concurrency::Adaptive(AdaptiveSettings { first, min, max, drops }) = concurrency else {
            return None;
        };
        let drops = drops.iter().map(http::StatusCode::as_u16).collect();
        let (first, min, max) = (*first, *min, *max);
        Some(Self { first, min, max, drops, long_without_answer: time(route.long_without_answer()) })
    }
}

impl ClassMet {
    fn of(
        queue: &QueueSettings,
        route: &RouteSettings,
        asked: &Asked,
        identity: &IdentitySettings,
    ) -> Option<Self> {
        let is_proxy = is_trusted(asked.peer, identity);
        let (number, said) = queue.class(&asked.headers, is_proxy, route.class.as_deref());
        let class = queue.classes.get(number)?;
        let field = queue.priority.as_ref().map(|priority| priority.header.to_string());
        let deaf = |name: &String| {
            let only_proxies =
                queue.priority.as_ref().is_some_and(|priority| priority.from == PriorityFrom::TrustedProxies);
            only_proxies && !is_proxy && asked.headers.contains_key(name)
        };
        Some(Self {
            name: class.name.clone(),
            weight: (class.weight, queue.classes.iter().map(|class| class.weight).sum()),
            told_by: field.clone().filter(|_| said),
            unheard: field.filter(deaf),
        })
    }
}

impl QueueMet {
    /// Which places are kept, and for whom.
    fn tell_of_kept(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(share) = self.share.or(self.kept_for_others) else { return Ok(()) };
        let is_own = self.share.is_some();
        let kept = match (&self.concurrency, self.places_kept) {
            (Concurrency::Fixed(places), Some(0)) => {
                let whose = if is_own { "its share" } else { "each share of another route" };
                format!("none of the {places} is kept, as {whose} is less than one")
            }
            (Concurrency::Fixed(places), Some(1)) => format!("1 of the {places} is kept"),
            (Concurrency::Fixed(places), Some(kept)) => format!("{kept} of the {places} are kept"),
            _ => format!("{share} of the places are kept"),
        };
        let for_whom = match (is_own, self.places_kept) {
            (true, Some(0)) => ", but it waits in a line of its own",
            (true, Some(1)) => " for this route while it needs it, and it waits in a line of its own",
            (true, _) => " for this route while it needs them, and it waits in a line of its own",
            (false, Some(0)) => "",
            (false, Some(1)) => " for another route while that needs it",
            (false, _) => " for other routes while they need them",
        };
        writeln!(f, "          {kept}{for_whom}")
    }
}

impl fmt::Display for QueueMet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, waiting, reject_status, .. } = self;
        let places = match &self.concurrency {
            Concurrency::Any => return writeln!(f, "queue     {name}: as many at once as come"),
            Concurrency::Fixed(places) => places.to_string(),
            Concurrency::Adaptive(_) => "as many as it works on".to_owned(),
        };
        let wait = self.wait.as_ref().map_or(String::new(), |wait| format!(" for {wait} at the most"));
        writeln!(f, "queue     {name}: {places} at once, {waiting} waiting{wait}, then {reject_status}")?;
        self.tell_of_kept(f)?;
        if let Some(services) = self.wait_of_services.filter(|_| *waiting > 0) {
            writeln!(
                f,
                "          who would wait for more than {services} times what one takes is turned away before"
            )?;
        }
        if let Some(AdaptiveMet { first, min, max, drops, long_without_answer }) = &self.adaptive {
            write!(f, "          from {min} to {max}, {first} at first; fewer after timeouts")?;
            let drops: Vec<String> = drops.iter().map(ToString::to_string).collect();
            writeln!(f, "{}{}", if drops.is_empty() { "" } else { " and " }, drops.join(", "))?;
            writeln!(
                f,
                "          a deadline that passes there is such a timeout if it had the request for as long as good answers take, and for {long_without_answer} where none is known or its client allows less time"
            )?;
        }
        if *waiting == 0 {
            return Ok(());
        }
        if let Some([target, most, whole]) = &self.codel {
            write!(
                f,
                "          while nobody has waited less than {target} for {whole}, who has waited {most} is shed"
            )?;
            writeln!(f, "{}", if self.order == "codel-newest" { ", and who came last is next" } else { "" })?;
        }
        if self.drops_oldest {
            writeln!(f, "          where {waiting} wait, who has waited longest gives way")?;
        }
        for PartMet { part, values } in self.fair.iter().flatten() {
            let here =
                if values.is_empty() { String::new() } else { format!("; here {}", values.join(" and ")) };
            writeln!(f, "          each {part} has its turn{here}")?;
        }
        let Some(ClassMet { name, weight: (weight, all), told_by, unheard }) = &self.class else {
            return Ok(());
        };
        write!(f, "          class {name}: {weight} of {all} places while all classes want theirs")?;
        match (told_by, unheard) {
            (Some(field), _) => writeln!(f, "; told by {field}"),
            (None, Some(field)) => writeln!(f, "; {field} is not heard, as the peer is no trusted proxy"),
            (None, None) => writeln!(f),
        }
    }
}
