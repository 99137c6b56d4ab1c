//! Places at an upstream, and the queue for them.

use http::{HeaderName, StatusCode};
use toml::Spanned;
use toml::de::DeValue;

use super::set;
use crate::config::limit::KeyParts;
use crate::config::queue::{
    AdaptiveSettings, Class, Concurrency, Order, PriorityFrom, PrioritySettings, QueueSettings, WhenFull,
    by_client,
};
use crate::config::tree::{Reading, Section};
use crate::flags::{own_header, refusal_status, timeout};

/// Reads it from its table.
pub(super) fn queue<'t>(reading: &mut Reading<'t>, mut section: Section<'t>, name: &str) -> QueueSettings {
    let mut queue = QueueSettings { name: name.to_owned(), ..QueueSettings::default() };
    let section = &mut section;
    if let Some(node) = reading.node(section, "concurrency") {
        queue.concurrency = concurrency(reading, section, node);
    }
    set(&mut queue.waiting, reading.number(section, "waiting"));
    queue.wait = reading.text(section, "wait", timeout);
    set(&mut queue.order, reading.text(section, "order", str::parse::<Order>));
    queue.target = reading.text(section, "target", timeout);
    set(&mut queue.full, reading.text(section, "full", str::parse::<WhenFull>));
    if let Some(node) = reading.node(section, "fair") {
        queue.fair = fair(reading, &section.at("fair"), node);
    }
    if let Some(node) = reading.node(section, "classes") {
        queue.classes = classes(reading, section, node);
    }
    if let Some(node) = reading.node(section, "priority") {
        queue.priority = priority(reading, section.at("priority"), node);
    }
    set(&mut queue.reject_status, status(reading, section));
    misplaced(reading, section);
    reading.close(section);
    queue
}

/// What belongs a table deeper is most likely meant so.
fn misplaced<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) {
    for key in ["adaptive", "first", "min", "max", "drops"] {
        if section.has(key) && reading.node(section, key).is_some() {
            let path = section.at(key);
            let message = format!("`{}` has no `{key}` of its own", section.path());
            let expected =
                "it in the table of `concurrency`, as in `concurrency = { adaptive = true, max = 500 }`";
            reading.wrong(reading.places.find(&path), message, expected);
        }
    }
}

const CONCURRENCY: &str = "a number, `\"adaptive\"`, or a table: `{ adaptive = true, max = 500 }`";

/// A number, `"adaptive"`, or all of the latter in a table.
fn concurrency<'t>(
    reading: &mut Reading<'t>,
    section: &Section<'t>,
    node: &'t Spanned<DeValue<'t>>,
) -> Concurrency {
    let path = section.at("concurrency");
    match node.get_ref() {
        DeValue::Integer(number) => {
            let value = usize::from_str_radix(number.as_str(), number.radix()).ok();
            if value.is_none() {
                reading.out_of_range(section, "concurrency", number.as_str(), "from 1 to 1000000");
            }
            value.map_or(Concurrency::Any, Concurrency::Fixed)
        }
        DeValue::String(_) => {
            let adaptive = |text: &str| match text {
                "adaptive" => Ok(Concurrency::Adaptive(AdaptiveSettings::default())),
                _ => Err(CONCURRENCY.to_owned()),
            };
            reading.parsed(&path, node, adaptive).unwrap_or_default()
        }
        DeValue::Table(table) => {
            let mut inside = Section::new(path, node.span(), table);
            let expected = "`adaptive = true` in it, as in `concurrency = { adaptive = true, max = 500 }`; a number that \
                            you choose stands alone, as in `concurrency = 8`";
            reading.require(&inside, "adaptive", expected);
            if reading.boolean(&mut inside, "adaptive") == Some(false) {
                let place = reading.places.find(&inside.at("adaptive"));
                let message = format!("`{}` can't be `false`", inside.at("adaptive"));
                reading.wrong(place, message, "`true`, or a number in place of the table");
            }
            let adaptive = adaptive(reading, &mut inside);
            reading.close(&inside);
            Concurrency::Adaptive(adaptive)
        }
        _ => {
            reading.wrong_kind(&path, node, CONCURRENCY);
            Concurrency::Any
        }
    }
}

fn adaptive<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> AdaptiveSettings {
    let mut adaptive = AdaptiveSettings::default();
    let first = reading.number(section, "first");
    set(&mut adaptive.min, reading.number(section, "min"));
    set(&mut adaptive.max, reading.number(section, "max"));
    // Who only says between which it is did not mean it to begin elsewhere.
    let usual = adaptive.first.min(adaptive.max).max(adaptive.min);
    adaptive.first = first.unwrap_or(usual);
    let drops = reading.list(section, "drops", "`[\"503\", \"429\"]`", refusal_status);
    if section.has("drops") {
        adaptive.drops = drops.into_iter().map(|(status, _)| status).collect();
    }
    adaptive
}

/// `true` or `false`, or what tells clients apart.
fn fair<'t>(reading: &mut Reading<'t>, path: &str, node: &'t Spanned<DeValue<'t>>) -> Option<KeyParts> {
    match node.get_ref() {
        DeValue::Boolean(wanted) => wanted.then(by_client),
        DeValue::String(_) => reading.parsed(path, node, str::parse::<KeyParts>),
        _ => {
            let expected = "`true`, or what tells clients apart, such as `\"header:x-api-key\"`";
            reading.wrong_kind(path, node, expected);
            None
        }
    }
}

/// More classes are not set up: there may not be that many, and the settings say so.
const MAX_CLASSES: usize = 17;

/// Names and weights, in the order of the file.
fn classes<'t>(
    reading: &mut Reading<'t>,
    section: &Section<'t>,
    node: &'t Spanned<DeValue<'t>>,
) -> Vec<Class> {
    let path = section.at("classes");
    let Some(table) = node.get_ref().as_table() else {
        let expected = "a table of names and weights: `{ high = 8, low = 1 }`";
        reading.wrong_kind(&path, node, expected);
        return Vec::new();
    };
    let mut each: Vec<_> = table.iter().collect();
    each.sort_by_key(|(name, _)| name.span().start);
    let mut classes = Vec::new();
    for (name, node) in each.into_iter().take(MAX_CLASSES) {
        let (name, path) = (name.get_ref().to_string(), format!("{path}.{}", name.get_ref()));
        reading.places.add(&path, node.span());
        let number = node.get_ref().as_integer();
        let weight = number.and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
        if weight.is_none() {
            reading.wrong_kind(&path, node, "a weight: a whole number from 1 to 1000, without quotes");
        }
        // What stands for it is right.
        classes.push(Class { name, weight: weight.unwrap_or(1) });
    }
    if classes.is_empty() {
        let place = reading.places.find(&path);
        let expected = "at least one; where all are alike, no `classes`";
        reading.wrong(place, format!("`{path}` can't be empty"), expected);
    }
    classes
}

/// The name of a field, or that and who is heard.
fn priority<'t>(
    reading: &mut Reading<'t>,
    path: String,
    node: &'t Spanned<DeValue<'t>>,
) -> Option<PrioritySettings> {
    match node.get_ref() {
        DeValue::String(_) => {
            let header: HeaderName = reading.parsed(&path, node, own_header)?;
            Some(PrioritySettings { header, from: PriorityFrom::default() })
        }
        DeValue::Table(table) => {
            let mut section = Section::new(path, node.span(), table);
            reading.require(&section, "header", "the field that says it, as in `header = \"x-priority\"`");
            let header = reading.text(&mut section, "header", own_header);
            let from = reading.text(&mut section, "from", str::parse::<PriorityFrom>);
            reading.close(&section);
            Some(PrioritySettings { header: header?, from: from.unwrap_or_default() })
        }
        _ => {
            let expected =
                "the name of a field, or a table: `{ header = \"x-priority\", from = \"trusted-proxies\" }`";
            reading.wrong_kind(&path, node, expected);
            None
        }
    }
}

fn status<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<StatusCode> {
    let number = reading.number(section, "reject-status")?.to_string();
    let status = refusal_status(&number);
    if status.is_err() {
        reading.out_of_range(section, "reject-status", &number, "a status from 400 to 599");
    }
    status.ok()
}
