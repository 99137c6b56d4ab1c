//! Routes, and the limits and queues that they have of their own, which get names that tell where they come from.

use std::collections::HashSet;
use std::ops::Range;

use http::Method;
use toml::de::DeValue;

use super::attempts::attempts;
use super::queue::queue;
use super::set;
use crate::config::limit::LimitRule;
use crate::config::pattern::Match;
use crate::config::settings::{DEFAULT, LimitSettings, QueueSettings, RouteSettings, Settings, Share};
use crate::config::tree::{Reading, Section, Wrong};
use crate::flags::timeout;

/// What a route says of a limit.
enum Limit {
    Named(String),
    Own(LimitRule),
}

/// Reads the routes into settings that have all else, and adds limits and queues of their own.
pub(super) fn routes<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>, settings: &mut Settings) {
    let sections = reading.tables(root, "route");
    let mut queues: HashSet<String> = settings.queues.iter().map(|queue| queue.name.clone()).collect();
    let mut routes = Vec::new();
    let mut limits = Vec::new();
    for (at, section) in sections.into_iter().enumerate() {
        let (route, own) = route(reading, section, at, settings, &mut queues);
        routes.push(route);
        limits.push(own);
    }
    if routes.is_empty() {
        routes.push(one_for_all(reading, root, settings, &mut queues));
        limits.push(Vec::new());
    }
    name_limits(reading, settings, &mut routes, limits);
    settings.routes = routes;
}

/// The route of a file that says none.
fn one_for_all(
    reading: &mut Reading<'_>,
    root: &Section<'_>,
    settings: &mut Settings,
    queues: &mut HashSet<String>,
) -> RouteSettings {
    if settings.upstreams.len() > 1 && !root.has("route") {
        let names: Vec<&str> = settings.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let expected = format!("a `[[route]]` for each of {}, which says what goes there", names.join(", "));
        reading.wrong(
            reading.places.find(&format!("upstream.{}", names[1])),
            "there are several upstreams and no route",
            expected,
        );
    }
    let upstream = settings.upstreams.first().map_or(DEFAULT, |upstream| &upstream.name).to_owned();
    let queue = own_queue(settings, DEFAULT, queues);
    RouteSettings { upstreams: vec![upstream], queue, ..RouteSettings::default() }
}

fn route<'t>(
    reading: &mut Reading<'t>,
    section: Section<'t>,
    at: usize,
    settings: &mut Settings,
    queues: &mut HashSet<String>,
) -> (RouteSettings, Vec<(Limit, Range<usize>)>) {
    // The name is a part of all paths in it.
    let name = section.peek("name").map_or_else(|| format!("route-{}", at + 1), str::to_owned);
    let mut section = section.renamed(format!("route.{name}"));
    let place = section.place.clone();
    reading.text(&mut section, "name", |_| Ok::<_, Wrong>(()));
    let named = section.has("name").then(|| reading.places.find(&section.at("name")));
    reading.places.add(format!("route.{name}"), named.unwrap_or(place));
    let mut route = RouteSettings { name, ..RouteSettings::default() };
    route.matches = matches(reading, &mut section, at);
    route.upstreams = upstreams(reading, &mut section, settings);
    let limits = reading.list(&mut section, "limits", EXPECTED_LIMITS, limit);
    route.queue = route_queue(reading, &mut section, &route.name, settings, queues);
    route.class = reading.text(&mut section, "class", |text| Ok::<_, Wrong>(text.to_owned()));
    route.share = share(reading, &mut section);
    set(&mut route.deadline, reading.text(&mut section, "deadline", timeout));
    route.attempts = attempts(reading, &mut section);
    reading.close(&section);
    (route, limits)
}

fn matches<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, at: usize) -> Match {
    let host = reading.text(section, "host", str::parse);
    let path = reading.text(section, "path", str::parse);
    let methods = reading.list(section, "methods", "`[\"GET\", \"HEAD\"]`", method);
    if methods.is_empty() && section.is_empty_list("methods") {
        let expected = "at least one; a route for all methods leaves `methods` out";
        let path = section.at("methods");
        reading.wrong(reading.places.find(&path), format!("`{path}` can't be empty"), expected);
    }
    let given = |key: &str, read: bool| section.has(key) && !read;
    if given("host", host.is_some()) || given("path", path.is_some()) || given("methods", !methods.is_empty())
    {
        // What it matches is not known; it must not be taken for all, which would make the routes behind it pointless.
        let own = Method::from_bytes(format!("UNKNOWN-{at}").as_bytes()).unwrap_or_default();
        return Match { methods: vec![own], ..Match::default() };
    }
    Match { host, path, methods: methods.into_iter().map(|(method, _)| method).collect() }
}

pub(super) fn method(text: &str) -> Result<Method, String> {
    let upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper);
    method.ok_or_else(|| "a method in upper case, such as `GET` or `POST`".to_owned())
}

/// `upstream` with one name, or `upstreams` with several.
fn upstreams<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, settings: &Settings) -> Vec<String> {
    let names = || settings.upstreams.iter().map(|upstream| upstream.name.as_str());
    let one = reading.text(section, "upstream", |text| Ok::<_, Wrong>(text.to_owned()));
    let expected = "names of upstreams, as in `[\"a\", \"b\"]`";
    let several = reading.list(section, "upstreams", expected, |text| Ok::<_, Wrong>(text.to_owned()));
    let first = names().next().unwrap_or(DEFAULT);
    let (path, place) =
        (section.at("upstreams"), |reading: &Reading<'_>, path: &str| reading.places.find(path));
    if section.has("upstreams") && section.has("upstream") {
        let message = format!("`{}` can't have both `upstream` and `upstreams`", section.path());
        reading.wrong(
            place(reading, &path),
            message,
            "`upstream` with one name, or `upstreams` with several",
        );
    } else if section.is_empty_list("upstreams") {
        let expected = format!("at least one, as in `upstreams = [\"{first}\"]`");
        reading.wrong(place(reading, &path), format!("`{path}` can't be empty"), expected);
    } else if !section.has("upstreams") && !section.has("upstream") && settings.upstreams.len() > 1 {
        let names = names().collect::<Vec<_>>().join(", ");
        let expected = format!("the name of one of {names}, as in `upstream = \"{first}\"`");
        reading.require(section, "upstream", &expected);
    }
    for (at, (_, place)) in several.iter().enumerate() {
        reading.places.add(format!("{path}.{at}"), place.clone());
    }
    if let [(_, place)] = several.as_slice() {
        // One alone is called so, however it is written.
        reading.places.add(section.at("upstream"), place.clone());
    }
    match (one, several.is_empty()) {
        (Some(one), _) => vec![one],
        (None, false) => several.into_iter().map(|(name, _)| name).collect(),
        (None, true) => vec![first.to_owned()],
    }
}

/// Which part of the queue's places is kept for it.
fn share<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Share> {
    let node = reading.node(section, "share")?;
    let expected =
        "a part of the queue's places: a number above 0 and up to 1, such as `0.3`, without quotes";
    let number = match node.get_ref() {
        DeValue::Integer(number) => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => {
            reading.wrong_kind(&section.at("share"), node, expected);
            return None;
        }
    };
    let share = Share::of_one(number);
    if share.is_none() {
        reading.out_of_range(section, "share", number, expected);
    }
    share
}

const EXPECTED_LIMITS: &str = "a name, or a rule of this route's own, as in `[\"client.ip 5/s\"]`";

/// A name has no spaces, and a rule has one.
fn limit(text: &str) -> Result<Limit, Wrong> {
    if text.trim().contains(char::is_whitespace) {
        Ok(Limit::Own(text.parse().map_err(Wrong::from)?))
    } else {
        Ok(Limit::Named(text.to_owned()))
    }
}

/// The queue a route names, or the name of one of its own.
fn route_queue<'t>(
    reading: &mut Reading<'t>,
    section: &mut Section<'t>,
    route: &str,
    settings: &mut Settings,
    queues: &mut HashSet<String>,
) -> String {
    let Some(node) = reading.node(section, "queue") else {
        let name = own_queue(settings, route, queues);
        let place = reading.places.find(section.path());
        reading.places.add(format!("queue.{name}"), place);
        return name;
    };
    if let Some(name) = node.get_ref().as_str() {
        return name.to_owned();
    }
    let name = own_queue(settings, route, queues);
    let Some(table) = node.get_ref().as_table() else {
        let expected = "the name of a queue, or one of its own: `{ concurrency = 8, waiting = 100 }`";
        reading.wrong_kind(&section.at("queue"), node, expected);
        return name;
    };
    reading.places.add(format!("queue.{name}"), node.span());
    let read = queue(reading, Section::new(format!("queue.{name}"), node.span(), table), &name);
    if let Some(own) = settings.queues.last_mut() {
        *own = read;
    }
    name
}

/// Adds a queue of a route's own, and returns its name: the route's, if no other is called that.
fn own_queue(settings: &mut Settings, route: &str, taken: &mut HashSet<String>) -> String {
    let name = free(route.to_owned(), &format!("{route}/queue"), taken);
    settings.queues.push(QueueSettings { name: name.clone(), ..QueueSettings::default() });
    name
}

/// The first of these that is free, which then is taken: the name, the other one, that with a number.
fn free(name: String, other: &str, taken: &mut HashSet<String>) -> String {
    let mut name = name;
    let mut number = 1_u64;
    while !taken.insert(name.clone()) {
        name = if number == 1 { other.to_owned() } else { format!("{other}-{number}") };
        number += 1;
    }
    name
}

/// More limits are not set up: there may not be that many, and the settings say so.
const MAX_LIMITS: usize = 1024;

/// Names the rules of routes' own: by route and key. What other routes have does not matter, so that a rule of a route with a
/// name keeps its own, and with it its tokens, whatever comes or goes beside it.
fn name_limits(
    reading: &mut Reading<'_>,
    settings: &mut Settings,
    routes: &mut [RouteSettings],
    limits: Vec<Vec<(Limit, Range<usize>)>>,
) {
    let mut taken: HashSet<String> = settings.limits.iter().map(|limit| limit.name.clone()).collect();
    for (route, limits) in routes.iter_mut().zip(limits) {
        for (limit, place) in limits {
            if settings.limits.len() > MAX_LIMITS {
                return;
            }
            reading.places.add(format!("route.{}.limits.{}", route.name, route.limits.len()), place.clone());
            let name = match limit {
                Limit::Named(name) => name,
                Limit::Own(rule) => {
                    let base = format!("{}/{}", route.name, rule.name());
                    let name = free(base.clone(), &base, &mut taken);
                    reading.places.add(format!("limit.{name}"), place);
                    settings.limits.push(LimitSettings::new(name.clone(), rule));
                    name
                }
            };
            route.limits.push(name);
        }
    }
}
