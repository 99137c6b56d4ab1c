//! Quotas and times in words.

use std::time::Duration;

use sluicegate::quota::{Quota, Refill};
use sluicegate::span::Span;

use crate::config::cost::{Cost, in_units};

/// A time, with its number also where that is one: `1s`.
pub(super) fn time(time: Duration) -> String {
    let text = Span(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).to_string();
    if text.starts_with(|letter: char| letter.is_ascii_digit()) { text } else { format!("1{text}") }
}

/// A quota, as what it means for what it counts.
pub(super) fn quota(quota: &Quota, cost: Cost) -> String {
    let number = |n: u64| if cost == Cost::Requests { n.to_string() } else { bytes(n) };
    let counted = |n: u64| match (cost, n) {
        (Cost::Requests, 1) => "1 request".to_owned(),
        (Cost::Requests, n) => format!("{n} requests"),
        (Cost::RequestBytes, n) => format!("{} of request bodies", bytes(n)),
        (Cost::ResponseBytes, n) => format!("{} of response bodies", bytes(n)),
        (Cost::Bytes, n) => format!("{} of bodies, both ways,", bytes(n)),
    };
    let most = number(quota.capacity());
    let start = quota.starts_with();
    let starting =
        if start == quota.capacity() { String::new() } else { format!(", starting with {}", number(start)) };
    match quota.refill() {
        Refill::Smooth { tokens, interval } => {
            format!("{} {}, at most {most} at once{starting}", counted(tokens), each(interval.get()))
        }
        Refill::Stepped { tokens, interval } => {
            let interval = time(Duration::from_nanos(interval.get()));
            format!("{} at the start of each {interval}, at most {most} at once{starting}", counted(tokens))
        }
        Refill::Stock => format!("{} in all, never refilled", counted(start)),
        Refill::Unlimited if cost == Cost::Requests => "as many requests as come".to_owned(),
        Refill::Unlimited => "as many bytes as come".to_owned(),
        Refill::Ban => "no request".to_owned(),
    }
}

fn bytes(count: u64) -> String {
    let text = in_units(count);
    let is_bare = text.ends_with(|last: char| last.is_ascii_digit());
    if is_bare { format!("{text} byte{}", if count == 1 { "" } else { "s" }) } else { text }
}

fn each(nanos: u64) -> String {
    match time(Duration::from_nanos(nanos)).as_str() {
        "1s" => "a second".to_owned(),
        "1m" => "a minute".to_owned(),
        "1h" => "an hour".to_owned(),
        "1d" => "a day".to_owned(),
        "1w" => "a week".to_owned(),
        time => format!("in {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_in_words() {
        for (text, words) in [
            ("100/s burst 200", "100 requests a second, at most 200 at once"),
            ("1/h", "1 request an hour, at most 1 at once"),
            ("3/7d initial 0", "3 requests a week, at most 3 at once, starting with 0"),
            ("5/250ms", "5 requests in 250ms, at most 5 at once"),
            ("5 every 250ms", "5 requests at the start of each 250ms, at most 5 at once"),
            ("stock 5 max 10", "5 requests in all, never refilled"),
            ("unlimited", "as many requests as come"),
            ("ban", "no request"),
        ] {
            assert_eq!(quota(&text.parse().unwrap(), Cost::Requests), words, "{text}");
        }
        for (cost, text, words) in [
            (
                Cost::Bytes,
                "10MiB/s burst 64MiB",
                "10MiB of bodies, both ways, a second, at most 64MiB at once",
            ),
            (Cost::RequestBytes, "stock 1GB", "1GB of request bodies in all, never refilled"),
            (
                Cost::ResponseBytes,
                "1500/m",
                "1500 bytes of response bodies a minute, at most 1500 bytes at once",
            ),
            (Cost::Bytes, "unlimited", "as many bytes as come"),
        ] {
            assert_eq!(quota(&cost.quota(text).unwrap(), cost), words, "{text}");
        }
        assert_eq!(time(Duration::from_secs(60)), "1m");
        assert_eq!(time(Duration::from_millis(1500)), "1500ms");
    }
}
