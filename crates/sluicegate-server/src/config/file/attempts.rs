//! How often a route's requests are sent.

use toml::Spanned;
use toml::de::DeValue;

use super::route::method;
use super::set;
use crate::config::attempts::{
    After, AttemptSettings, FIRST, HedgeSettings, On, RetrySettings, Share, replay,
};
use crate::config::tree::{Reading, Section};
use crate::flags::timeout;

/// Reads it from a route's table.
pub(super) fn attempts<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> AttemptSettings {
    let mut attempts = AttemptSettings::default();
    if let Some(node) = reading.node(section, "retry") {
        attempts.retry = retry(reading, section.at("retry"), node);
    }
    if let Some(node) = reading.node(section, "hedge") {
        attempts.hedge = hedge(reading, section.at("hedge"), node);
    }
    set(&mut attempts.replay, reading.text(section, "replay", replay));
    attempts.timeout = reading.text(section, "attempt-timeout", timeout);
    attempts
}

fn retry<'t>(
    reading: &mut Reading<'t>,
    path: String,
    node: &'t Spanned<DeValue<'t>>,
) -> Option<RetrySettings> {
    let mut retry = RetrySettings::default();
    match node.get_ref() {
        DeValue::Boolean(wanted) => return wanted.then_some(retry),
        DeValue::Table(table) => {
            let mut section = Section::new(path, node.span(), table);
            set(&mut retry.attempts, reading.number(&mut section, "attempts"));
            set(&mut retry.budget, reading.text(&mut section, "budget", str::parse::<Share>));
            let on = reading.list(&mut section, "on", "`[\"connect\", \"503\"]`", str::parse::<On>);
            if section.is_empty_list("on") {
                let place = reading.places.find(&section.at("on"));
                let message = format!("`{}` can't be empty", section.at("on"));
                reading.wrong(place, message, "at least one; without retries, no `retry`");
            }
            if !on.is_empty() {
                retry.on = on.into_iter().map(|(on, _)| on).collect();
            }
            set(&mut retry.pause, reading.text(&mut section, "pause", timeout));
            let longest = reading.text(&mut section, "max-pause", timeout);
            // Who only says how long the first is did not mean it to be longer than the longest.
            retry.max_pause = longest.unwrap_or(retry.max_pause.max(retry.pause));
            reading.close(&section);
        }
        _ => {
            let expected = "`true`, or a table: `{ attempts = 3, budget = \"10%\" }`";
            reading.wrong_kind(&path, node, expected);
        }
    }
    Some(retry)
}

fn hedge<'t>(
    reading: &mut Reading<'t>,
    path: String,
    node: &'t Spanned<DeValue<'t>>,
) -> Option<HedgeSettings> {
    let short = |text: &str| text.parse::<After>();
    let table = match node.get_ref() {
        DeValue::Table(table) => table,
        DeValue::String(_) => return reading.parsed(&path, node, short).map(HedgeSettings::new),
        _ => {
            let expected = "a time such as `\"50ms\"`, a percentile such as `\"p95\"`, or a table: \
                            `{ after = \"50ms\", budget = \"5%\" }`";
            reading.wrong_kind(&path, node, expected);
            return None;
        }
    };
    let mut section = Section::new(path, node.span(), table);
    let (has_after, has_percentile) = (section.has("after"), section.has("percentile"));
    let after = reading.text(&mut section, "after", timeout);
    let percentile = percentile(reading, &mut section);
    let first = reading.text(&mut section, "first", timeout);
    let budget = reading.text(&mut section, "budget", str::parse::<Share>);
    let methods = reading.list(&mut section, "methods", "`[\"GET\", \"PUT\"]`", method);
    if section.is_empty_list("methods") {
        let place = reading.places.find(&section.at("methods"));
        let message = format!("`{}` can't be empty", section.at("methods"));
        reading.wrong(place, message, "at least one; for those that are safe, no `methods`");
    }
    let path = section.path().to_owned();
    match (has_after, has_percentile) {
        (true, true) => both(reading, &path, "percentile", "after"),
        (true, false) if section.has("first") => both(reading, &path, "first", "after"),
        (false, false) => {
            let message = format!("`{path}` has neither `after` nor `percentile`");
            reading.wrong(
                section.place.clone(),
                message,
                "one of them: `after = \"50ms\"`, `percentile = 95`",
            );
        }
        _ => {}
    }
    reading.close(&section);
    let percentile = percentile.map(|share| After::Percentile { share, first: first.unwrap_or(FIRST) });
    let mut hedge = HedgeSettings::new(after.map(After::Fixed).or(percentile)?);
    set(&mut hedge.budget, budget);
    hedge.methods = methods.into_iter().map(|(method, _)| method).collect();
    Some(hedge)
}

/// Two keys that don't go together.
fn both(reading: &mut Reading<'_>, path: &str, one: &str, other: &str) {
    let place = reading.places.find(&format!("{path}.{one}"));
    let message = format!("`{path}` can't have both `{other}` and `{one}`");
    reading.wrong(place, message, "`after` alone, or `percentile` with or without `first`");
}

fn percentile<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Option<Share> {
    let node = reading.node(section, "percentile")?;
    let (path, expected) = (section.at("percentile"), "a number from 50 to 99.99, without quotes");
    let number = match node.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => {
            reading.wrong_kind(&path, node, expected);
            return None;
        }
    };
    let share = Share::of_percentile(number);
    if share.is_none() {
        reading.out_of_range(section, "percentile", number, expected);
    }
    share
}
