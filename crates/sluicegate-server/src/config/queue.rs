//! Places at an upstream, and the queue for them: how many, in which order, who is turned away, and who goes first.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::limit::{KeyPart, KeyParts};
use super::settings::DEFAULT;

/// Places at an upstream, and the queue for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Unique among queues.
    pub name: String,
    /// How many requests are at the upstream at once.
    pub concurrency: Concurrency,
    /// How many requests wait for one of those places.
    pub waiting: usize,
    /// How long one waits at the most; without, as long as the request has, or [some services](Self::wait_of_services). Who would wait
    /// longer, as far as is known, is turned away at once.
    pub wait: Option<Duration>,
    /// Who is next, and whether those who have waited for long are shed.
    pub order: Order,
    /// What is taken for a line that stands, where the order is one by CoDel; without, 5 ms.
    pub target: Option<Duration>,
    /// Who gives way where as many wait as may.
    pub full: WhenFull,
    /// By what requests take turns, so that who sends a thousand waits for itself; without, they don't.
    pub fair: Option<KeyParts>,
    /// Classes of requests, each with a share of the places and of the room; none where all are alike. Who is told to be in none is in
    /// the last.
    pub classes: Vec<Class>,
    /// Where a request says its class, if that is heard.
    pub priority: Option<PrioritySettings>,
    /// The status for those that are turned away.
    pub reject_status: StatusCode,
}

/// How many requests are at an upstream at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as come.
    #[default]
    Any,
    /// So many.
    Fixed(usize),
    /// As many as it works on at once, which is found out.
    Adaptive(AdaptiveSettings),
}

/// Within what a limit is found, and what it is learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptiveSettings {
    /// The limit to begin with.
    pub first: usize,
    /// It never falls below this.
    pub min: usize,
    /// It never rises above this.
    pub max: usize,
    /// Answers with one of these statuses mean that the upstream has too much to do.
    pub drops: Vec<StatusCode>,
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        let drops = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        Self { first: 10, min: 1, max: 10_000, drops }
    }
}

impl Concurrency {
    /// How many there may be in any case; none is without a bound.
    #[must_use]
    pub const fn most(&self) -> Option<usize> {
        match self {
            Self::Any => None,
            Self::Fixed(places) => Some(*places),
            Self::Adaptive(AdaptiveSettings { max, .. }) => Some(*max),
        }
    }
}

impl From<usize> for Concurrency {
    fn from(places: usize) -> Self {
        Self::Fixed(places)
    }
}

/// As on the command line: `8`, `adaptive`.
///
/// ```
/// use sluicegate_server::config::queue::Concurrency;
///
/// assert_eq!("8".parse(), Ok(Concurrency::Fixed(8)));
/// assert_eq!("adaptive".parse::<Concurrency>().unwrap().most(), Some(10_000));
/// assert_eq!("many".parse::<Concurrency>().unwrap_err(), "expected a number, or `adaptive`");
/// ```
impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "adaptive" => Ok(Self::Adaptive(AdaptiveSettings::default())),
            number => {
                number.parse().map(Self::Fixed).map_err(|_| "expected a number, or `adaptive`".to_owned())
            }
        }
    }
}

/// Who is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Who has waited longest. Nobody is shed.
    #[default]
    Fifo,
    /// The same; but while the line stands, who has waited too long is shed.
    Codel,
    /// And while the line stands, who came last is next.
    CodelNewest,
}

impl Order {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Codel => "codel",
            Self::CodelNewest => "codel-newest",
        }
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let order =
            [Self::Fifo, Self::Codel, Self::CodelNewest].into_iter().find(|order| order.name() == text);
        order.ok_or_else(|| "`fifo`, `codel` or `codel-newest`".to_owned())
    }
}

/// Who gives way where as many wait as may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenFull {
    /// Who comes.
    #[default]
    Refuse,
    /// Who has waited longest.
    DropOldest,
}

impl FromStr for WhenFull {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "drop-oldest" => Ok(Self::DropOldest),
            _ => Err("`refuse` or `drop-oldest`".to_owned()),
        }
    }
}

/// A class of requests. As text: `high=8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Unique among the classes of its queue.
    pub name: String,
    /// Its share, beside the weights of the others.
    pub weight: usize,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.weight)
    }
}

/// ```
/// use sluicegate_server::config::queue::Class;
///
/// let class: Class = "high=8".parse().unwrap();
/// assert_eq!((class.name.as_str(), class.weight), ("high", 8));
/// assert!("high".parse::<Class>().is_err());
/// ```
impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let class = text.trim().split_once('=').and_then(|(name, weight)| {
            Some(Self { name: name.trim().to_owned(), weight: weight.trim().parse().ok()? })
        });
        class.ok_or_else(|| "expected a name and a weight, as in `high=8`".to_owned())
    }
}

/// Where a request says its class, and who is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrioritySettings {
    /// The field: one value, the name of a class.
    pub header: HeaderName,
    /// Who is heard.
    pub from: PriorityFrom,
}

/// Who is heard about the class of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PriorityFrom {
    /// Peers that are trusted proxies. They must set the field, or remove what their clients say in it.
    #[default]
    TrustedProxies,
    /// Whoever asks, which is to say: who wants to be served first is.
    Anyone,
}

impl PriorityFrom {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrustedProxies => "trusted-proxies",
            Self::Anyone => "anyone",
        }
    }
}

impl FromStr for PriorityFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let from = [Self::TrustedProxies, Self::Anyone].into_iter().find(|from| from.name() == text);
        from.ok_or_else(|| "`trusted-proxies` or `anyone`".to_owned())
    }
}

/// By what requests take turns where nothing is said but that they do.
#[must_use]
pub fn by_client() -> KeyParts {
    KeyParts(vec![KeyPart::ClientIp])
}

/// The shortest wait that is taken for a line that stands, if nothing is said.
pub const TARGET: Duration = Duration::from_millis(5);

/// How long the shortest wait is looked for, if the target is short beside it.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a line is where the limit is found out and nothing else is said of who waits, in what the upstream takes for a request.
const SERVICES: f64 = 1.5;

impl QueueSettings {
    /// Who would wait for longer than so many times what the upstream takes for a request is turned away at once. Without that all who
    /// may wait would, in an overload, and be served only when most of them have left. No more than [may wait](Self::waiting) do in
    /// any case.
    #[must_use]
    pub fn wait_of_services(&self) -> Option<f64> {
        let is_found_out = matches!(self.concurrency, Concurrency::Adaptive(_));
        (is_found_out && self.wait.is_none() && self.order == Order::Fifo).then_some(SERVICES)
    }

    /// What is taken for a line that stands; how long one may have waited then; and how long it is looked at: twice the target, and
    /// ten times, at least 100 ms.
    #[must_use]
    pub fn codel(&self) -> Option<[Duration; 3]> {
        let target = self.target.unwrap_or(TARGET);
        let times = [target, target.saturating_mul(2), target.saturating_mul(10).max(INTERVAL)];
        (self.order != Order::Fifo).then_some(times)
    }

    /// The number of the class of a request, and whether the request has said so itself: what it says where it is heard, then what its
    /// route says, then the last.
    #[must_use]
    pub fn class(&self, headers: &HeaderMap, is_proxy: bool, route: Option<&str>) -> (usize, bool) {
        let number = |name: &str| self.classes.iter().position(|class| class.name == name);
        let heard = self.priority.as_ref().filter(|said| said.from == PriorityFrom::Anyone || is_proxy);
        let said = heard.and_then(|said| {
            // Of several nobody knows which one was meant.
            let mut values = headers.get_all(&said.header).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            number(value.to_str().ok()?.trim())
        });
        let class = said.or_else(|| number(route?)).unwrap_or(self.classes.len().saturating_sub(1));
        (class, said.is_some())
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            concurrency: Concurrency::Any,
            waiting: 100,
            wait: None,
            order: Order::Fifo,
            target: None,
            full: WhenFull::Refuse,
            fair: None,
            classes: Vec::new(),
            priority: None,
            reject_status: StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(from: PriorityFrom) -> QueueSettings {
        let classes = ["high=8", "normal=4", "low=1"].map(|class| class.parse().unwrap()).to_vec();
        let priority = PrioritySettings { header: HeaderName::from_static("x-priority"), from };
        QueueSettings { classes, priority: Some(priority), ..QueueSettings::default() }
    }

    fn saying(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HeaderName::from_static("x-priority"), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_is_not_heard_has_the_class_of_its_route() {
        let queue = classes(PriorityFrom::TrustedProxies);
        let high = saying(&["high"]);
        assert_eq!(queue.class(&high, true, Some("normal")), (0, true));
        assert_eq!(queue.class(&high, false, Some("normal")), (1, false), "a client says it of itself");
        assert_eq!(queue.class(&high, false, None), (2, false));
        assert_eq!(classes(PriorityFrom::Anyone).class(&high, false, None), (0, true));
    }

    #[test]
    fn what_names_no_class_is_as_if_nothing_was_said() {
        let queue = classes(PriorityFrom::Anyone);
        for said in [&[][..], &["highest"], &["high", "high"], &[""], &["HIGH"], &["\u{e9}"]] {
            assert_eq!(queue.class(&saying(said), true, Some("normal")), (1, false), "{said:?}");
        }
        assert_eq!(queue.class(&saying(&[" low "]), true, Some("normal")), (2, true));
        assert_eq!(QueueSettings::default().class(&saying(&["high"]), true, None), (0, false));
    }

    #[test]
    fn a_line_is_measured_in_services_where_the_limit_is_found_and_nothing_else_is_said() {
        let found = || QueueSettings { concurrency: "adaptive".parse().unwrap(), ..QueueSettings::default() };
        let of = |settings: QueueSettings| settings.wait_of_services();
        assert_eq!(of(found()), Some(SERVICES));
        assert_eq!(of(QueueSettings { wait: Some(TARGET), ..found() }), None);
        assert_eq!(of(QueueSettings { order: Order::Codel, ..found() }), None);
        assert_eq!(of(QueueSettings { concurrency: 8.into(), ..found() }), None);
    }

    #[test]
    fn times_of_codel_go_with_the_target() {
        let times = |order, target| QueueSettings { order, target, ..QueueSettings::default() }.codel();
        let millis = |times: [u64; 3]| Some(times.map(Duration::from_millis));
        assert_eq!(times(Order::Fifo, Some(TARGET)), None);
        assert_eq!(times(Order::Codel, None), millis([5, 10, 100]));
        assert_eq!(times(Order::CodelNewest, Some(Duration::from_millis(20))), millis([20, 40, 200]));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for order in [Order::Fifo, Order::Codel, Order::CodelNewest] {
            assert_eq!(order.name().parse(), Ok(order));
        }
        for from in [PriorityFrom::TrustedProxies, PriorityFrom::Anyone] {
            assert_eq!(from.name().parse(), Ok(from));
        }
        assert!("lifo".parse::<Order>().is_err() && "drop".parse::<WhenFull>().is_err());
        assert!(
            ["high", "high=", "=", "high=-1", "high=1.5"].iter().all(|text| text.parse::<Class>().is_err())
        );
    }
}
