//! What is right of queues, and of the classes that routes name.

use std::time::Duration;

use super::{Wrong, size, time};
use crate::config::queue::{AdaptiveSettings, Concurrency, QueueSettings};
use crate::config::settings::{RouteSettings, SettingsError, Share};

/// The most places, and the most that wait.
const MOST: usize = 1_000_000;

/// The longest target: what waits for longer than an hour waits for nothing.
const LONGEST_TARGET: Duration = Duration::from_secs(3600);

impl QueueSettings {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        let at = |setting: &str| format!("queue.{}.{setting}", self.name);
        wrong.note(size(&at("waiting"), self.waiting, 0..=MOST));
        match &self.concurrency {
            Concurrency::Any => {}
            Concurrency::Fixed(places) => wrong.note(size(&at("concurrency"), *places, 1..=MOST)),
            Concurrency::Adaptive(adaptive) => adaptive.check(&at, wrong),
        }
        wrong.note(self.wait.map_or(Ok(()), |wait| time(&at("wait"), wait)));
        if let Some(target) = self.target.filter(|target| *target > LONGEST_TARGET) {
            let target = format!("{target:?}");
            wrong.push(SettingsError::new(at("target"), target, "a time from 1ms to 1h"));
        }
        self.check_classes(&at, wrong);
        if !(self.reject_status.is_client_error() || self.reject_status.is_server_error()) {
            let status = self.reject_status.as_u16();
            wrong.push(SettingsError::new(at("reject-status"), status, "a status from 400 to 599"));
        }
    }

    fn check_classes(&self, at: &impl Fn(&str) -> String, wrong: &mut Wrong) {
        wrong.note(size(&at("classes"), self.classes.len(), 0..=16));
        for (place, class) in self.classes.iter().enumerate() {
            let setting = at(&format!("classes.{}", class.name));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if class.name.is_empty() || class.name.len() > 64 || !class.name.bytes().all(plain) {
                let expected = "a name of 1 to 64 letters, digits, `-`, `_` and `.`";
                wrong.push(SettingsError::new(&setting, &class.name, expected));
            }
            wrong.note(size(&setting, class.weight, 1..=1000));
            if self.classes[..place].iter().any(|earlier| earlier.name == class.name) {
                wrong.push(SettingsError::new(&setting, class, "each class once"));
            }
        }
        if let Some(priority) = self.priority.as_ref().filter(|_| self.classes.is_empty()) {
            let expected = "`classes` besides, that it can name: `classes = { high = 8, low = 1 }`";
            wrong.push(SettingsError::new(at("priority"), &priority.header, expected));
        }
    }
}

impl AdaptiveSettings {
    fn check(&self, at: &impl Fn(&str) -> String, wrong: &mut Wrong) {
        let at = |setting: &str| at(&format!("concurrency.{setting}"));
        wrong.note(size(&at("min"), self.min, 1..=MOST));
        wrong.note(size(&at("max"), self.max, 1..=MOST));
        if self.max < self.min {
            let expected = format!("at least `min`, {}", self.min);
            wrong.push(SettingsError::new(at("max"), self.max, expected).beside(at("min")));
        } else if !(self.min..=self.max).contains(&self.first) {
            let expected = format!("from `min` to `max`: {} to {}", self.min, self.max);
            wrong.push(SettingsError::new(at("first"), self.first, expected));
        }
        wrong.note(size(&at("drops"), self.drops.len(), 0..=32));
    }
}

/// The shares of a queue's places that its routes have are no more than all together.
pub(super) fn check_shares(queue: &QueueSettings, routes: &[RouteSettings], wrong: &mut Wrong) {
    let mut all = Share::percent(0);
    let own = |route: &&RouteSettings| route.queue == queue.name;
    let mut first = None;
    for (route, share) in routes.iter().filter(own).filter_map(|route| Some((route, route.share?))) {
        let setting = format!("route.{}.share", route.name);
        if let Some(sum) = all.and(share) {
            all = sum;
            first.get_or_insert(setting);
            continue;
        }
        let (sum, name) = (all.as_f64(), &queue.name);
        let expected = match all.rest() {
            none if none == Share::percent(0) => {
                format!("none: other routes of the queue `{name}` have all of its places already, a sum of 1")
            }
            rest => format!(
                "at most {}: other routes of the queue `{name}` have {sum} already, and all together have 1",
                rest.as_f64()
            ),
        };
        let error = SettingsError::new(&setting, share.as_f64(), expected);
        wrong.push(match &first {
            Some(first) => error.beside(first),
            None => error,
        });
    }
}

/// A class that a route names is one of its queue.
pub(super) fn check_class(route: &RouteSettings, queue: Option<&QueueSettings>, wrong: &mut Wrong) {
    let (Some(class), Some(queue)) = (&route.class, queue) else { return };
    let names: Vec<&str> = queue.classes.iter().map(|class| class.name.as_str()).collect();
    if names.contains(&class.as_str()) {
        return;
    }
    let expected = match names.is_empty() {
        true => format!("`classes` of the queue `{}`, and it has none", queue.name),
        false => format!("the name of a class of the queue `{}`: {}", queue.name, names.join(", ")),
    };
    wrong.push(SettingsError::new(format!("route.{}.class", route.name), class, expected));
}
