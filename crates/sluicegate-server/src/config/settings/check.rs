//! What is right of settings: the one place, for the command line and the file.

mod attempts;
mod queues;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{RouteSettings, Settings, SettingsError, UpstreamSettings};
use crate::config::store::policy_text;

/// Times that something is waited for.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// Times that tokens may be held.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(16)..=Duration::from_secs(3600);

impl Settings {
    /// These settings, if they make sense.
    ///
    /// # Errors
    /// Naming the first setting that does not, its value and what would be right.
    pub fn checked(self) -> Result<Self, SettingsError> {
        self.mistakes().into_iter().next().map_or(Ok(self), Err)
    }

    /// All that does not make sense; none is what [`checked`](Self::checked) asks for.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingsError> {
        let mut wrong = Wrong::default();
        self.check_counts(&mut wrong);
        if !wrong.0.is_empty() {
            // What is compared with each other would take too long.
            return wrong.0;
        }
        self.check_process(&mut wrong);
        self.check_clients(&mut wrong);
        wrong.unique("limit", self.limits.iter().map(|limit| &limit.name));
        for limit in &self.limits {
            wrong.note(size(&format!("limit.{}.max-keys", limit.name), limit.max_keys, 1..=1 << 31));
        }
        self.check_store(&mut wrong);
        wrong.unique("queue", self.queues.iter().map(|queue| &queue.name));
        self.queues.iter().for_each(|queue| queue.check(&mut wrong));
        wrong.unique("upstream", self.upstreams.iter().map(|upstream| &upstream.name));
        for upstream in &self.upstreams {
            upstream.check(&mut wrong);
            attempts::check_reserve(upstream, &self.routes, &mut wrong);
        }
        wrong.unique("route", self.routes.iter().map(|route| &route.name));
        self.routes.iter().for_each(|route| self.check_route(route, &mut wrong));
        self.queues.iter().for_each(|queue| queues::check_shares(queue, &self.routes, &mut wrong));
        self.check_order(&mut wrong);
        wrong.0
    }

    /// How many there are of each.
    fn check_counts(&self, wrong: &mut Wrong) {
        wrong.note(size("listener", self.listeners.len(), 1..=64));
        wrong.note(size("limit", self.limits.len(), 0..=1024));
        wrong.note(size("queue", self.queues.len(), 1..=1024));
        wrong.note(size("upstream", self.upstreams.len(), 1..=1024));
        wrong.note(size("route", self.routes.len(), 1..=1024));
        wrong.note(size("trusted-proxies", self.identity.trusted_proxies.len(), 0..=1024));
        for route in &self.routes {
            let at = |setting: &str| format!("route.{}.{setting}", route.name);
            wrong.note(size(&at("limits"), route.limits.len(), 0..=32));
            wrong.note(size(&at("upstreams"), route.upstreams.len(), 1..=64));
            wrong.note(size(&at("methods"), route.matches.methods.len(), 0..=32));
        }
    }

    fn check_process(&self, wrong: &mut Wrong) {
        wrong.note(size("workers", self.workers, 0..=1024));
        if self.grace > *TIMES.end() {
            wrong.push(SettingsError::new("grace", format!("{:?}", self.grace), "at most 24h"));
        }
        let mut addresses: HashMap<SocketAddr, String> = HashMap::new();
        for (at, listener) in self.listeners.iter().enumerate() {
            // Port 0 is another one each time.
            if listener.address.port() == 0 {
                continue;
            }
            let setting = format!("listener.{at}.address");
            if let Some(first) = addresses.keys().find(|first| overlap(first, &listener.address)) {
                let expected = format!("one of the two alone: {first} is a part of it, or it of that");
                let error = SettingsError::new(&setting, listener.address, expected);
                wrong.push(error.beside(&addresses[first]));
            }
            match addresses.entry(listener.address) {
                Entry::Vacant(place) => {
                    place.insert(setting);
                }
                Entry::Occupied(first) => {
                    let error =
                        SettingsError::new(setting, listener.address, "an address of its own for each");
                    wrong.push(error.beside(first.get()));
                }
            }
        }
        let is_taken = |admin: SocketAddr| {
            addresses
                .iter()
                .find(|(first, _)| **first == admin || overlap(first, &admin))
                .map(|(_, at)| (admin, at))
        };
        if let Some((admin, listener)) = self.admin.filter(|admin| admin.port() != 0).and_then(is_taken) {
            let error = SettingsError::new("admin", admin, "another address than the listeners'");
            wrong.push(error.beside(listener));
        }
        wrong.note(size("ipv6-prefix", usize::from(self.identity.ipv6_prefix), 1..=128));
    }

    fn check_clients(&self, wrong: &mut Wrong) {
        let clients = &self.clients;
        wrong.note(time("header-timeout", clients.header_timeout));
        wrong.note(time("idle-timeout", clients.idle_timeout));
        wrong.note(time("body-stall-timeout", clients.body_stall_timeout));
        wrong.note(time("stream-idle-timeout", clients.stream_idle_timeout));
        wrong.note(size("max-header-bytes", clients.max_header_bytes, 8192..=1 << 20));
        wrong.note(size("max-headers", clients.max_headers, 1..=10_000));
        wrong.note(size("max-connections", clients.max_connections, 1..=1_000_000));
        wrong.note(size("max-streams", clients.max_streams, 1..=10_000));
    }

    fn check_store(&self, wrong: &mut Wrong) {
        let store = &self.store;
        wrong.note(store.timeout.map_or(Ok(()), |timeout| time("store.timeout", timeout)));
        wrong.note(size("store.instances", store.instances, 1..=1_000_000));
        wrong.note(size("store.max-keys", store.max_keys, 1..=100_000_000));
        if let Some(lease) = store.lease.filter(|lease| !LEASES.contains(lease)) {
            wrong.push(SettingsError::new("store.lease", format!("{lease:?}"), "a time from 16ms to 1h"));
        }
        if !store.is_here() {
            return;
        }
        // Whoever says such things believes that limits are shared, or survive.
        let expected =
            "a store besides, such as `store = \"redis://127.0.0.1\"`: limits in this process are never away";
        if let Some(lease) = store.lease {
            wrong.push(SettingsError::new("store.lease", format!("{lease:?}"), expected));
        }
        for limit in &self.limits {
            let at = |setting: &str| format!("limit.{}.{setting}", limit.name);
            if let Some(away) = limit.away {
                wrong.push(SettingsError::new(at("away"), policy_text(away), expected));
            }
            if limit.lease == Some(true) {
                wrong.push(SettingsError::new(at("lease"), true, expected));
            }
        }
    }

    fn check_route(&self, route: &RouteSettings, wrong: &mut Wrong) {
        let at = |setting: &str| format!("route.{}.{setting}", route.name);
        wrong.note(time(&at("deadline"), route.deadline));
        attempts::check(route, wrong);
        let names = |names: Vec<&str>| match names.is_empty() {
            true => "the name of one, but there is none".to_owned(),
            false => format!("the name of one there is: {}", names.join(", ")),
        };
        for (place, upstream) in route.upstreams.iter().enumerate() {
            let setting = |place: usize| match route.upstreams.len() {
                1 => at("upstream"),
                _ => at(&format!("upstreams.{place}")),
            };
            if !self.upstreams.iter().any(|known| known.name == *upstream) {
                let known = self.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
                wrong.push(SettingsError::new(setting(place), upstream, names(known)));
            }
            if let Some(first) = route.upstreams[..place].iter().position(|earlier| earlier == upstream) {
                let error = SettingsError::new(setting(place), upstream, "each upstream once");
                wrong.push(error.beside(setting(first)));
            }
        }
        let queues: Vec<&str> = self.queues.iter().map(|queue| queue.name.as_str()).collect();
        if !queues.contains(&route.queue.as_str()) {
            wrong.push(SettingsError::new(at("queue"), &route.queue, names(queues)));
        }
        queues::check_class(route, self.queues.iter().find(|queue| queue.name == route.queue), wrong);
        for (place, limit) in route.limits.iter().enumerate() {
            let setting = || at(&format!("limits.{place}"));
            if !self.limits.iter().any(|known| known.name == *limit) {
                let known = self.limits.iter().map(|limit| limit.name.as_str()).collect();
                wrong.push(SettingsError::new(setting(), limit, names(known)));
            }
            if let Some(first) = route.limits[..place].iter().position(|earlier| earlier == limit) {
                let error = SettingsError::new(setting(), limit, "each limit once");
                wrong.push(error.beside(at(&format!("limits.{first}"))));
            }
        }
    }

    /// The first route that matches is taken, so one that stands behind all it could match is a mistake.
    fn check_order(&self, wrong: &mut Wrong) {
        for (at, route) in self.routes.iter().enumerate() {
            let covers = |earlier: &&RouteSettings| earlier.matches.covers(&route.matches);
            if let Some(earlier) = self.routes[..at].iter().find(covers) {
                let expected = format!(
                    "a place before `{}`, which matches all that this one would and stands first",
                    earlier.name
                );
                let error = SettingsError::new(format!("route.{}", route.name), &route.name, expected);
                wrong.push(error.beside(format!("route.{}", earlier.name)));
            }
        }
    }
}

/// Whether two addresses that are not the same can't both be listened on: one is a part of the other. All of IPv6 has all of
/// IPv4 with it.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let all = |address: &SocketAddr| address.ip().is_unspecified();
    let holds = |whole: &SocketAddr, part: &SocketAddr| all(whole) && (whole.is_ipv6() || part.is_ipv4());
    one != other && one.port() == other.port() && (holds(one, other) || holds(other, one))
}

impl UpstreamSettings {
    fn check(&self, wrong: &mut Wrong) {
        let at = |setting: &str| format!("upstream.{}.{setting}", self.name);
        let path = self.url.path_and_query().map_or("", |path| path.as_str());
        let port = self.url.authority().and_then(|authority| authority.as_str().rsplit_once(':'));
        // A port that is none is taken for a part of the host.
        let port_is_one = port.is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        let user = self.url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_host = self.url.scheme_str() == Some("http") && self.url.host().is_some();
        if !is_host || !port_is_one || user || !matches!(path, "" | "/") {
            let expected = "an address such as http://127.0.0.1:9000, without a path";
            wrong.push(SettingsError::new(at("url"), &self.url, expected));
        }
        wrong.note(time(&at("connect-timeout"), self.connect_timeout));
        wrong.note(size(&at("idle"), self.idle, 0..=1_000_000));
        wrong.note(time(&at("idle-timeout"), self.idle_timeout));
        if self.deadline_reserve > *TIMES.end() {
            let reserve = format!("{:?}", self.deadline_reserve);
            wrong.push(SettingsError::new(at("deadline-reserve"), reserve, "at most 24h"));
        }
    }
}

fn time(setting: &str, time: Duration) -> Result<(), SettingsError> {
    if TIMES.contains(&time) {
        return Ok(());
    }
    Err(SettingsError::new(setting, format!("{time:?}"), "a time from 1ms to 24h"))
}

fn size(setting: &str, size: usize, range: RangeInclusive<usize>) -> Result<(), SettingsError> {
    if range.contains(&size) {
        return Ok(());
    }
    Err(SettingsError::new(setting, size, format!("from {} to {}", range.start(), range.end())))
}

/// What is wrong so far.
#[derive(Default)]
struct Wrong(Vec<SettingsError>);

impl Wrong {
    fn push(&mut self, error: SettingsError) {
        self.0.push(error);
    }

    fn note(&mut self, outcome: Result<(), SettingsError>) {
        self.0.extend(outcome.err());
    }

    /// Names are told apart, and can be printed in a header field, a metric's label and a path of a setting.
    fn unique<'a>(&mut self, kind: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen = HashSet::new();
        for name in names {
            let setting = format!("{kind}.{name}");
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
                let expected =
                    "a name of 1 to 128 printable ASCII characters without spaces, quotes and backslashes";
                self.push(SettingsError::new(&setting, name, expected));
            }
            if !seen.insert(name) {
                self.push(SettingsError::new(&setting, name, "a name of its own for each").beside(setting));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_part_of_another_address_can_t_be_listened_on_beside_it() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (one, other, is) in [
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:81", false),
        ] {
            assert_eq!(overlap(&address(one), &address(other)), is, "{one} {other}");
            assert_eq!(overlap(&address(other), &address(one)), is, "{other} {one}");
        }
    }
}
