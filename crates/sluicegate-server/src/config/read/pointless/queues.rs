//! What of a queue's settings has no effect.

use std::time::Duration;

use super::{Found, Said};
use crate::config::queue::{Concurrency, Order, PriorityFrom, QueueSettings, TARGET};
use crate::config::settings::{RouteSettings, Settings, Share};

/// What says who waits, and how.
const OF_WAITING: [&str; 7] = ["wait", "order", "target", "full", "fair", "classes", "priority"];

pub(super) fn of_queue(queue: &QueueSettings, settings: &Settings, found: &mut Found<'_, impl Said>) {
    let at = |setting: &str| format!("queue.{}.{setting}", queue.name);
    let said = found.said;
    let [name, one] = [Said::name, Said::one].map(|call| move |setting: &str| call(said, &at(setting)));
    if queue.concurrency == Concurrency::Any {
        let places = one("concurrency");
        let besides = format!("{places} besides");
        for setting in OF_WAITING.iter().chain(&["waiting"]) {
            found.add(&at(setting), &format!("without {places}, nobody waits"), &besides);
        }
        found.add(&at("reject-status"), &format!("without {places}, nobody is refused for it"), &besides);
        return;
    }
    if queue.waiting == 0 {
        for setting in OF_WAITING {
            let why = format!("with {} of 0, nobody waits", one("waiting"));
            found.add(&at(setting), &why, &format!("a larger `{}`", name("waiting")));
        }
        return;
    }
    if queue.order == Order::Fifo {
        let why = format!("with {} of `fifo`, nobody is shed for standing in the line", one("order"));
        found.add(&at("target"), &why, &format!("{} of `codel` or `codel-newest` besides", one("order")));
    }
    if let Some((wait, least, why)) = too_short(queue) {
        let expected = format!(
            "a `{}` of more than {least:?}, or none, or a shorter `{}`",
            name("wait"),
            name("target")
        );
        let why = format!("nobody waits for more than {wait:?}, {why}");
        found.add(&at("wait"), &why, &expected);
    }
    let routes = || settings.routes.iter().filter(|route| route.queue == queue.name);
    let longest = routes().map(|route| route.deadline).max();
    if let Some(deadline) = longest.filter(|deadline| queue.wait.is_some_and(|wait| wait >= *deadline)) {
        let whose = said.pick("the deadline of its routes", "`--deadline`");
        let expected = said.pick("less than the deadline", "less than that");
        found.add(&at("wait"), &format!("{whose}, {deadline:?}, is over before"), expected);
    }
    if let [only] = queue.classes.as_slice() {
        let why = format!("`{}` has all of the places, for want of another class", only.name);
        found.add(&at("classes"), &why, "at least two classes, or none");
    } else if queue.priority.is_none() && routes().all(|route| route.class.is_none()) {
        let expected = said.pick(
            "a `class` of a route, or a `priority` that says in which field a request tells its own",
            "a `--priority-header` besides, in which a request tells its own",
        );
        found.add(&at("classes"), "nothing says who is in which class: all are in the last", expected);
    }
    let from = queue.priority.as_ref().map(|priority| priority.from);
    if from == Some(PriorityFrom::TrustedProxies) && settings.identity.trusted_proxies.is_empty() {
        let expected = said.pick(
            "`trusted-proxies` besides; or `from = \"anyone\"`, where clients may choose",
            "a `--trusted-proxy` besides; or `--priority-from anyone`, where clients may choose",
        );
        found.add(&at("priority"), "only trusted proxies are heard, and there are none", expected);
    }
}

/// How long one waits at the most, if that is too short for a line that stands to be seen or cut: than what, and why.
fn too_short(queue: &QueueSettings) -> Option<(Duration, Duration, String)> {
    let (wait, [target, most, _]) = queue.wait.zip(queue.codel())?;
    let order = queue.order.name();
    if wait <= target {
        let usual =
            if queue.target.is_none() && target == TARGET { ", as it is if nothing is said" } else { "" };
        let why = format!(
            "so none is ever taken for an overload by a target of {target:?}{usual}: `{order}` does nothing"
        );
        return Some((wait, most, why));
    }
    // In an overload the newest would still come first.
    let sheds_nobody = wait <= most && queue.order == Order::Codel;
    sheds_nobody.then(|| {
        (wait, most, format!("and `{order}` sheds who has waited for {most:?}, twice its target: nobody"))
    })
}

/// A part of the places that is no part of any, or of all.
pub(super) fn of_share(
    route: &RouteSettings,
    queue: Option<&QueueSettings>,
    settings: &Settings,
    found: &mut Found<'_, impl Said>,
) {
    let (Some(share), Some(queue)) = (route.share, queue) else { return };
    let setting = format!("route.{}.share", route.name);
    let is_alone = settings.routes.iter().filter(|other| other.queue == queue.name).count() == 1;
    if queue.concurrency == Concurrency::Any {
        let why = format!("the queue `{}` has no `concurrency`, so there are no places to share", queue.name);
        found.add(&setting, &why, "a `concurrency` of the queue");
    } else if is_alone {
        let why = format!("no other route has the queue `{}`: all places are for this one", queue.name);
        found.add(&setting, &why, "a queue that several routes name, or no `share`");
    } else if let Some(most) = queue.concurrency.most().filter(|most| share.of_places(*most) == 0) {
        let why = format!("of {most} at the most that is less than one, and nothing is kept");
        found.add(&setting, &why, "a larger `share`, or more places");
    }
}

/// Shares that leave nothing for who has none. Told once, of the last of them.
pub(super) fn of_the_rest(
    route: &RouteSettings,
    queue: Option<&QueueSettings>,
    settings: &Settings,
    found: &mut Found<'_, impl Said>,
) {
    let Some(queue) = queue else { return };
    let routes = || settings.routes.iter().filter(|other| other.queue == queue.name);
    let shares: Vec<Share> = routes().filter_map(|route| route.share).collect();
    let is_last = routes().rfind(|route| route.share.is_some()).is_some_and(|last| last.name == route.name);
    let leaves_none = match queue.concurrency {
        Concurrency::Any => false,
        // Each is rounded down on its own.
        Concurrency::Fixed(places) => {
            shares.iter().map(|share| share.of_places(places)).sum::<usize>() >= places
        }
        Concurrency::Adaptive(_) => {
            let all = shares.iter().copied().try_fold(Share::percent(0), Share::and);
            all.is_none_or(|all| all == Share::percent(100))
        }
    };
    let rest = routes().filter(|route| route.share.is_none()).map(|route| format!("`{}`", route.name));
    let rest: Vec<String> = rest.collect();
    if !is_last || !leaves_none || rest.is_empty() {
        return;
    }
    let (whom, has) = (rest.join(", "), if rest.len() == 1 { "has" } else { "have" });
    let why = format!(
        "the shares of the queue `{}` are all of its places: {whom} {has} none while the others need theirs",
        queue.name
    );
    let expected = format!("shares that leave a place, or one for {whom}");
    found.add(&format!("route.{}.share", route.name), &why, &expected);
}
