//! Who waits for a place, and how, as a file says it.

use super::*;
use crate::config::queue::{AdaptiveSettings, Order, PriorityFrom, QueueSettings, WhenFull};

fn queue(text: &str) -> QueueSettings {
    config(&format!("[queue.a]\n{text}\n[[route]]\nqueue = 'a'")).settings.queues.remove(0)
}

#[test]
fn a_concurrency_is_a_number_or_found_out() {
    let adaptive = |text: &str| match queue(text).concurrency {
        Concurrency::Adaptive(adaptive) => adaptive,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(queue("").concurrency, Concurrency::Any);
    assert_eq!(queue("concurrency = 8").concurrency, Concurrency::Fixed(8));
    assert_eq!(adaptive("concurrency = 'adaptive'"), AdaptiveSettings::default());
    assert_eq!(adaptive("concurrency = { adaptive = true }"), AdaptiveSettings::default());
    let text = "concurrency = { adaptive = true, first = 20, min = 2, max = 500, drops = ['503', '429'] }";
    let drops = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
    assert_eq!(adaptive(text), AdaptiveSettings { first: 20, min: 2, max: 500, drops });
    assert_eq!(adaptive("concurrency = { adaptive = true, max = 5 }").first, 5, "within what is said");
    assert_eq!(adaptive("concurrency = { adaptive = true, min = 50 }").first, 50);
    assert!(adaptive("concurrency = { adaptive = true, drops = [] }").drops.is_empty(), "none but timeouts");
}

#[test]
fn all_of_a_queue_can_be_said() {
    let queue = queue(
        "concurrency = 8\nwaiting = 9\nwait = '50ms'\norder = 'codel-newest'\ntarget = '20ms'\nfull = 'drop-oldest'\n\
         fair = 'header:x-api-key'\nclasses = { low = 1, high = 8 }\npriority = { header = 'X-Priority', from = 'anyone' }",
    );
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!((queue.wait, queue.target, queue.order), (millis(50), millis(20), Order::CodelNewest));
    assert_eq!(queue.full, WhenFull::DropOldest);
    assert_eq!(queue.fair.unwrap().to_string(), "header:x-api-key");
    let classes: Vec<String> = queue.classes.iter().map(ToString::to_string).collect();
    assert_eq!(classes, ["low=1", "high=8"], "in the order of the file");
    let priority = queue.priority.unwrap();
    assert_eq!((priority.header.as_str(), priority.from), ("x-priority", PriorityFrom::Anyone));
}

#[test]
fn what_is_short_is_the_usual() {
    let fair = |text: &str| queue(&format!("concurrency = 1\n{text}")).fair;
    assert_eq!(fair("fair = true").unwrap().to_string(), "client.ip");
    assert_eq!((fair("fair = false"), fair("")), (None, None));
    let said = queue("concurrency = 1\nclasses = { high = 8, low = 1 }\npriority = 'x-priority'").priority;
    assert_eq!(said.unwrap().from, PriorityFrom::TrustedProxies, "nobody else, if nobody says so");
}

#[test]
fn a_route_names_a_class_of_its_queue() {
    let text = "[queue.a]\nconcurrency = 1\nclasses = { high = 8, low = 1 }\n\
                [[route]]\npath = '/pay'\nqueue = 'a'\nclass = 'high'\n[[route]]\nqueue = 'a'\n";
    let config = config(text);
    assert_eq!(config.settings.routes[0].class.as_deref(), Some("high"));
    assert_eq!((config.settings.routes[1].class.as_deref(), config.warnings.count()), (None, 0));
    let own = "[[route]]\nqueue = { concurrency = 1, classes = { high = 8, low = 1 } }\nclass = 'hihg'";
    let lines = wrong(own).lines();
    assert_eq!(
        lines,
        [
            "gateway.toml:3:9: `route.route-1.class` can't be `hihg`; expected the name of a class of the queue \
             `route-1`: high, low"
        ]
    );
    let none = wrong("[[route]]\nqueue = { concurrency = 1 }\nclass = 'high'").lines();
    assert!(none[0].ends_with("expected `classes` of the queue `route-1`, and it has none"), "{none:?}");
}

#[test]
fn each_mistake_is_shown_in_its_place() {
    let concurrency = "a number, `\"adaptive\"`, or a table: `{ adaptive = true, max = 500 }`";
    for (text, place, parts) in [
        ("concurrency = 0", "2:15", &["`queue.a.concurrency` can't be `0`; expected from 1 to 1000000"][..]),
        ("concurrency = -1", "2:15", &["`queue.a.concurrency` can't be `-1`; "]),
        ("concurrency = 'adaptiv'", "2:15", &["`queue.a.concurrency` can't be `adaptiv`; ", concurrency]),
        ("concurrency = true", "2:15", &["can't be true or false; ", concurrency]),
        ("concurrency = { max = 5 }", "2:15", &["`queue.a.concurrency` has no `adaptive`; "]),
        ("concurrency = { adaptive = false }", "2:28", &["can't be `false`; "]),
        (
            "concurrency = { adaptive = true, min = 9, max = 5 }",
            "2:49",
            &["`queue.a.concurrency.max` can't be `5`; expected at least `min`, 9"],
        ),
        (
            "concurrency = { adaptive = true, first = 9, max = 5 }",
            "2:42",
            &["`queue.a.concurrency.first` can't be `9`; expected from `min` to `max`: 1 to 5"],
        ),
        ("concurrency = { adaptive = true, min = 0 }", "2:40", &["concurrency.min` can't be `0`; "]),
        (
            "concurrency = { adaptive = true, drops = ['5xx'] }",
            "2:43",
            &["drops.0` can't be `5xx`; ", "400 to 599"],
        ),
        (
            "concurrency = { adaptive = true, most = 5 }",
            "2:34",
            &["unknown key `most`", "expected one of adaptive, "],
        ),
        ("wait = '0s'", "2:8", &["`queue.a.wait` can't be `0s`; expected a time from 1ms to 24h"]),
        ("wait = 50", "2:8", &["`queue.a.wait` can't be a number; "]),
        (
            "order = 'lifo'",
            "2:9",
            &["`queue.a.order` can't be `lifo`; expected `fifo`, `codel` or `codel-newest`"],
        ),
        ("target = '2h'", "2:10", &["`queue.a.target` can't be `7200s`; expected a time from 1ms to 1h"]),
        ("full = 'wait'", "2:8", &["`queue.a.full` can't be `wait`; expected `refuse` or `drop-oldest`"]),
        (
            "fair = 'client'",
            "2:8",
            &["`queue.a.fair` can't be `client`; expected a key (global, client.ip, "],
        ),
        (
            "fair = 1",
            "2:8",
            &["`queue.a.fair` can't be a number; expected `true`, or what tells clients apart"],
        ),
        (
            "classes = ['high']",
            "2:11",
            &["`queue.a.classes` can't be a list; expected a table of names and weights"],
        ),
        ("classes = {}", "2:11", &["`queue.a.classes` can't be empty; "]),
        (
            "classes = { high = '8' }",
            "2:20",
            &["`queue.a.classes.high` can't be a string; expected a weight"],
        ),
        (
            "classes = { high = 1001 }",
            "2:20",
            &["`queue.a.classes.high` can't be `1001`; expected from 1 to 1000"],
        ),
        ("classes = { 'a b' = 1 }", "2:21", &["`queue.a.classes.a b` can't be `a b`; expected a name of"]),
        (
            "priority = 'x-priority'",
            "2:12",
            &["`queue.a.priority` can't be `x-priority`; expected `classes` besides"],
        ),
        (
            "priority = 'authorization'",
            "2:12",
            &["expected the name of a field of its own, such as `x-priority`"],
        ),
        ("priority = {}", "2:12", &["`queue.a.priority` has no `header`; "]),
        (
            "classes = { a = 1 }\npriority = { header = 'x-p', from = 'all' }",
            "3:37",
            &["`queue.a.priority.from` can't be `all`; expected `trusted-proxies` or `anyone`"],
        ),
        ("wiat = '50ms'", "2:1", &["unknown key `wiat` in `queue.a`; ", "did you mean `wait`?"]),
    ] {
        let lines = wrong(&format!("[queue.a]\n{text}\n[[route]]\nqueue = 'a'")).lines();
        assert!(lines[0].starts_with(&format!("gateway.toml:{place}: ")), "{text}: {lines:?}");
        assert!(lines.len() == 1 && parts.iter().all(|part| lines[0].contains(part)), "{text}: {lines:?}");
    }
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let warnings = |text: &str| -> Vec<String> {
        let config = config(&format!("[queue.a]\n{text}\n[[route]]\nqueue = 'a'\ndeadline = '1s'\n"));
        config.warnings.lines().map(|line| line.replace("conf/gateway.toml:", "")).collect()
    };
    let many = warnings("waiting = 9\nwait = '50ms'\norder = 'codel'\nfair = true");
    assert_eq!(many.len(), 4, "{many:?}");
    assert!(many.iter().all(|line| line.contains("without a `concurrency`, nobody waits")), "{many:?}");
    let status = warnings("reject-status = 429");
    assert!(
        status.len() == 1 && status[0].contains("without a `concurrency`, nobody is refused for it"),
        "{status:?}"
    );
    let none = warnings("concurrency = 1\nwaiting = 0\norder = 'codel'\nfull = 'drop-oldest'");
    assert_eq!(none.len(), 2);
    assert!(none[0].starts_with("4:9: `queue.a.order`: with a `waiting` of 0, nobody waits; "), "{none:?}");
    for (text, part) in [
        ("target = '5ms'", "`queue.a.target`: with an `order` of `fifo`, nobody is shed for"),
        ("wait = '1s'", "`queue.a.wait`: the deadline of its routes, 1s, is over before"),
        ("classes = { all = 1 }", "`queue.a.classes`: `all` has all of the places"),
        (
            "order = 'codel'\nwait = '5ms'",
            "`queue.a.wait`: nobody waits for more than 5ms, so none is ever taken",
        ),
        (
            "order = 'codel-newest'\ntarget = '20ms'\nwait = '20ms'",
            "a target of 20ms: `codel-newest` does nothing; expected a `wait` of more than 40ms, or none, or a shorter `target`",
        ),
        (
            "order = 'codel'\ntarget = '20ms'\nwait = '40ms'",
            "`codel` sheds who has waited for 40ms, twice its target: nobody",
        ),
        ("classes = { a = 2, b = 1 }", "`queue.a.classes`: nothing says who is in which class"),
        (
            "classes = { a = 2, b = 1 }\npriority = 'x-p'",
            "`queue.a.priority`: only trusted proxies are heard, and there are none",
        ),
    ] {
        let lines = warnings(&format!("concurrency = 1\n{text}"));
        assert!(lines.len() == 1 && lines[0].contains(part), "{text}: {lines:?}");
    }
    for fine in [
        "order = 'codel'\ntarget = '20ms'\nwait = '999ms'",
        "order = 'codel'\ntarget = '20ms'\nwait = '41ms'",
        "order = 'codel-newest'\ntarget = '20ms'\nwait = '21ms'",
        "classes = { a = 2, b = 1 }\npriority = { header = 'x-p', from = 'anyone' }",
        "fair = true\nfull = 'drop-oldest'",
    ] {
        assert_eq!(warnings(&format!("concurrency = 'adaptive'\n{fine}")), [""; 0], "{fine}");
    }
}

/// Three routes of one queue, the first two with these shares.
fn shared(concurrency: &str, shares: [&str; 2]) -> String {
    let [a, b] = shares;
    format!(
        "[queue.q]\nconcurrency = {concurrency}\n\
         [[route]]\nname = 'a'\npath = '/a'\nqueue = 'q'\nshare = {a}\n\
         [[route]]\nname = 'b'\npath = '/b'\nqueue = 'q'\nshare = {b}\n\
         [[route]]\nname = 'rest'\nqueue = 'q'\n"
    )
}

#[test]
fn routes_share_the_places_of_their_queue() {
    for concurrency in ["10", "'adaptive'"] {
        let Config { settings, warnings, .. } = config(&shared(concurrency, ["0.3", "0.7"]));
        let shares: Vec<_> =
            settings.routes.iter().map(|route| route.share.map(|share| share.as_f64())).collect();
        assert_eq!((shares, warnings.count()), (vec![Some(0.3), Some(0.7), None], 1), "nothing is left");
    }
    assert_eq!(config(&shared("1", ["1", "1.0"]).replace("share = 1.0", "")).warnings.count(), 1);
}

#[test]
fn shares_are_parts_and_no_more_than_all() {
    let share =
        "expected a part of the queue's places: a number above 0 and up to 1, such as `0.3`, without quotes";
    for (shares, place, part) in [
        (
            ["0.3", "0.8"],
            "12:9",
            "`route.b.share` can't be `0.8`; expected at most 0.7: other routes of the queue `q` have 0.3",
        ),
        (
            ["1", "0.1"],
            "12:9",
            "`route.b.share` can't be `0.1`; expected none: other routes of the queue `q` have all",
        ),
        (["0", "0.1"], "7:9", &format!("`route.a.share` can't be `0`; {share}")),
        (["1.5", "0.1"], "7:9", &format!("`route.a.share` can't be `1.5`; {share}")),
        (["0.3", "30"], "12:9", &format!("`route.b.share` can't be `30`; {share}")),
        (["'30%'", "0.1"], "7:9", &format!("`route.a.share` can't be a string; {share}")),
    ] {
        let lines = wrong(&shared("10", shares)).lines();
        assert!(
            lines.len() == 1 && lines[0].starts_with(&format!("gateway.toml:{place}: {part}")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_share_of_nothing_is_a_warning() {
    let warnings = |text: &str| -> Vec<String> { config(text).warnings.lines().collect() };
    let alone = "[[route]]\nqueue = { concurrency = 8 }\nshare = 0.5";
    for (text, part) in [
        (
            shared("2", ["0.3", "0.5"]),
            "`route.a.share`: of 2 at the most that is less than one, and nothing is kept",
        ),
        (
            shared("10", ["0.3", "0.5"]).replace("concurrency = 10", ""),
            "`route.a.share`: the queue `q` has no `concurrency`",
        ),
        (
            shared("2", ["0.5", "5e-1"]),
            "`route.b.share`: the shares of the queue `q` are all of its places: `rest` has none while",
        ),
        (
            shared("'adaptive'", ["0.25", "0.75"]),
            "`route.b.share`: the shares of the queue `q` are all of its places: `rest` has none while",
        ),
        (
            shared("1", ["1", "1.0"]).replace("share = 1.0", ""),
            "`route.a.share`: the shares of the queue `q` are all of its places: `b`, `rest` have none while",
        ),
        (alone.to_owned(), "`route.route-1.share`: no other route has the queue `route-1`"),
    ] {
        assert!(warnings(&text)[0].contains(part), "{text}: {:?}", warnings(&text));
    }
    for something_is_left in [shared("3", ["0.5", "0.5"]), shared("'adaptive'", ["0.3333333", "0.3333333"])] {
        assert_eq!(warnings(&something_is_left), [""; 0]);
    }
}

#[test]
fn what_stands_beside_the_table_it_belongs_in_is_told_where_it_does() {
    let lines = wrong("[queue.a]\nadaptive = true\n[[route]]\nqueue = 'a'").lines();
    let told = "gateway.toml:2:12: `queue.a` has no `adaptive` of its own; expected it in the table of `concurrency`, as in ";
    assert!(lines.len() == 1 && lines[0].starts_with(told), "{lines:?}");
    let lines = wrong("[queue.a]\nconcurrency = { max = 5 }\n[[route]]\nqueue = 'a'").lines();
    assert!(
        lines[0].ends_with("a number that you choose stands alone, as in `concurrency = 8`"),
        "{lines:?}"
    );
}
