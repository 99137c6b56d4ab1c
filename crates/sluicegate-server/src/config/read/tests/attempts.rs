//! Several upstreams, retries, hedges and deadlines, as a file says them.

use super::*;
use crate::config::attempts::{After, HedgeSettings, On, RetrySettings, Share};
use crate::config::settings::RouteSettings;

const TWO: &str = "[upstream.a]\nurl = 'http://a'\n[upstream.b]\nurl = 'http://b'\n[[route]]\n";

fn route(text: &str) -> RouteSettings {
    config(&format!("{TWO}{text}")).settings.routes.remove(0)
}

#[test]
fn a_route_names_one_upstream_or_several() {
    for (text, names) in [
        ("upstream = 'b'", &["b"][..]),
        ("upstreams = ['b']", &["b"]),
        ("upstreams = ['b', 'a']", &["b", "a"]),
    ] {
        assert_eq!(route(text).upstreams, names, "{text}");
    }
    assert_eq!(route("upstream = 'a'").attempts, RouteSettings::default().attempts, "it goes once");
}

#[test]
fn all_of_a_retry_can_be_said_and_none_of_it_must() {
    let retry = |text: &str| route(&format!("upstream = 'a'\n{text}")).attempts.retry;
    assert_eq!(retry("retry = true"), Some(RetrySettings::default()));
    assert_eq!(retry("retry = {}"), Some(RetrySettings::default()));
    assert_eq!(retry("retry = false"), None);
    let text =
        "retry = { attempts = 5, budget = '2.5%', on = ['connect', '429'], pause = '2s', max-pause = '3s' }";
    let expected = RetrySettings {
        attempts: 5,
        budget: "2.5%".parse().unwrap(),
        on: vec![On::Connect, On::Status(StatusCode::TOO_MANY_REQUESTS)],
        pause: Duration::from_secs(2),
        max_pause: Duration::from_secs(3),
    };
    assert_eq!(retry(text), Some(expected));
    let long = retry("retry = { pause = '2s' }").unwrap();
    assert_eq!(long.max_pause.as_secs(), 2, "no shorter than the first");
}

#[test]
fn a_hedge_has_a_time_or_a_percentile() {
    let hedge = |text: &str| route(&format!("upstream = 'a'\n{text}")).attempts.hedge.unwrap();
    let after = After::Fixed(Duration::from_millis(50));
    assert_eq!(hedge("hedge = '50ms'"), HedgeSettings::new(after));
    assert_eq!(hedge("hedge = { after = '50ms' }"), HedgeSettings::new(after));
    assert_eq!(hedge("hedge = { after = '50ms', budget = '1%' }").budget, Share::percent(1));
    assert_eq!(hedge("hedge = { after = '50ms', methods = ['PUT'] }").methods, ["PUT"]);
    assert_eq!(hedge("hedge = { percentile = 95 }").after, "p95".parse().unwrap());
    assert_eq!(hedge("hedge = { percentile = 99.9 }").after, "p99.9".parse().unwrap());
    let share = Share::of_percentile("90").unwrap();
    let first = Duration::from_millis(7);
    assert_eq!(hedge("hedge = { percentile = 90, first = '7ms' }").after, After::Percentile { share, first });
}

#[test]
fn bodies_attempts_and_deadlines_have_their_bounds() {
    let attempts = route("upstream = 'a'\nreplay = '1MiB'\nattempt-timeout = '2s'").attempts;
    assert_eq!((attempts.replay, attempts.timeout), (1 << 20, Some(Duration::from_secs(2))));
    let text = "deadline-header = 'X-Timeout-Ms'\n[upstream.a]\nurl = 'http://a'\n\
                deadline-header = 'grpc-timeout'\ndeadline-reserve = '5ms'";
    let settings = config(text).settings;
    let name = settings.clients.deadline_header.unwrap();
    assert_eq!(name.name(), "x-timeout-ms");
    let upstream = &settings.upstreams[0];
    assert_eq!(upstream.deadline_header, Some(sluicegate_tower::http::deadline::Field::grpc()));
    assert_eq!(upstream.deadline_reserve, Duration::from_millis(5));
}

#[test]
fn each_mistake_is_shown_in_its_place() {
    let twice = wrong(&format!("{TWO}upstreams = ['a', 'a']")).lines();
    assert!(twice[0].ends_with("expected each upstream once"), "nothing else was meant: {twice:?}");
    for (text, parts) in [
        (
            "upstreams = ['a', 'c']",
            &["6:19: `route.route-1.upstreams.1` can't be `c`; ", "there is: a, b"][..],
        ),
        ("upstreams = ['ab']", &["6:14: `route.route-1.upstream` can't be `ab`; ", "did you mean `a`?"]),
        (
            "upstreams = ['a', 'a']",
            &["6:19: `route.route-1.upstreams.1` can't be `a`; expected each upstream once"],
        ),
        ("upstreams = []", &["6:13: `route.route-1.upstreams` can't be empty; expected at least one"]),
        (
            "upstreams = 'a'",
            &["6:13: `route.route-1.upstreams` can't be a string; expected a list of strings"],
        ),
        (
            "upstream = 'a'\nupstreams = ['b']",
            &["7:13: `route.route-1` can't have both `upstream` and `upstreams`"],
        ),
        ("retry = 3", &["`route.route-1.retry` can't be a number; expected `true`, or a table"]),
        ("retry = { attempts = 1 }", &["`route.route-1.retry.attempts` can't be `1`; expected from 2 to 10"]),
        ("retry = { attempts = 11 }", &["expected from 2 to 10, the first included"]),
        ("retry = { budget = '10' }", &["`route.route-1.retry.budget` can't be `10`; ", "`10%`"]),
        ("retry = { budget = 10 }", &["`route.route-1.retry.budget` can't be a number; "]),
        (
            "retry = { on = ['5xx'] }",
            &["`route.route-1.retry.on.0` can't be `5xx`; expected `connect`, `broken`"],
        ),
        ("retry = { on = ['200'] }", &["can't be `200`; "]),
        ("retry = { on = [] }", &["`route.route-1.retry.on` can't be empty"]),
        (
            "retry = { pause = '2s', max-pause = '1s' }",
            &["retry.max-pause` can't be `1s`; expected at least as long"],
        ),
        (
            "retry = { atempts = 2 }",
            &["unknown key `atempts` in `route.route-1.retry`; ", "did you mean `attempts`?"],
        ),
        (
            "hedge = 'soon'",
            &["`route.route-1.hedge` can't be `soon`; expected a time such as `50ms`, or a percentile"],
        ),
        ("hedge = 'p100'", &["can't be `p100`; "]),
        ("hedge = true", &["`route.route-1.hedge` can't be true or false; expected a time such as"]),
        (
            "hedge = { after = '50ms', methods = [] }",
            &["`route.route-1.hedge.methods` can't be empty; expected at least one"],
        ),
        (
            "hedge = { after = '50ms', methods = ['put'] }",
            &["`route.route-1.hedge.methods.0` can't be `put`; expected a method in upper case"],
        ),
        ("hedge = {}", &["`route.route-1.hedge` has neither `after` nor `percentile`"]),
        (
            "hedge = { after = '1s', percentile = 95 }",
            &["`route.route-1.hedge` can't have both `after` and `percentile`"],
        ),
        ("hedge = { after = '1s', first = '1s' }", &["can't have both `after` and `first`"]),
        (
            "hedge = { percentile = 0.95 }",
            &["`route.route-1.hedge.percentile` can't be `0.95`; expected a number from 50"],
        ),
        (
            "hedge = { percentile = '95' }",
            &["can't be a string; expected a number from 50 to 99.99, without quotes"],
        ),
        (
            "hedge = '1m'",
            &["`route.route-1.hedge.after` can't be `60s`; expected less than the deadline, 30s"],
        ),
        (
            "hedge = '1s'\nattempt-timeout = '1s'",
            &["`route.route-1.hedge.after` can't be `1s`; expected less than the attempt-timeout, 1s"],
        ),
        (
            "attempt-timeout = '30s'",
            &["`route.route-1.attempt-timeout` can't be `30s`; expected less than the deadline"],
        ),
        (
            "replay = '1GiB'",
            &["`route.route-1.replay` can't be `1GiB`; expected a number of bytes up to 16MiB"],
        ),
    ] {
        let upstream = if text.contains("upstream") { "" } else { "upstream = 'a'\n" };
        let lines = wrong(&format!("{TWO}{text}\n{upstream}")).lines();
        let right = lines.len() == 1 && parts.iter().all(|part| lines[0].contains(part));
        assert!(right, "{text}: {lines:?} without {parts:?}");
    }
    for field in ["host", "a b", "", "Transfer-Encoding"] {
        let lines = wrong(&format!("deadline-header = '{field}'\n{TWO}upstream = 'a'")).lines();
        assert!(lines.len() == 1 && lines[0].contains("`x-request-timeout-ms`"), "{field}: {lines:?}");
    }
}

#[test]
fn a_reserve_leaves_some_time() {
    let text = |reserve: &str, route: &str| {
        let upstream = "[upstream.a]\nurl = 'http://a'\ndeadline-header = 'x-left-ms'";
        format!("{upstream}\ndeadline-reserve = '{reserve}'\n[[route]]\n{route}")
    };
    assert_eq!(config(&text("1s", "deadline = '2s'")).warnings.count(), 0);
    for (reserve, route, what) in [
        ("2s", "deadline = '2s'", "deadline of the route `route-1`, 2s"),
        ("1s", "attempt-timeout = '1s'", "attempt-timeout of the route `route-1`, 1s"),
    ] {
        let lines = wrong(&text(reserve, route)).lines();
        let expected = format!(
            "4:20: `upstream.a.deadline-reserve` can't be `{reserve}`; expected a reserve of less than the {what}: "
        );
        assert!(lines.len() == 1 && lines[0].contains(&expected), "{lines:?}");
    }
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let warnings = |text: &str| config(&format!("{TWO}{text}")).warnings.lines().collect::<Vec<_>>();
    let bounded = "upstreams = ['a', 'b']\nqueue = { concurrency = 8 }\n";
    for (text, part) in [
        ("retry = { on = ['connect', 'timeout'] }", "`route.route-1.retry.on`: without an `attempt-timeout`"),
        ("replay = '1KiB'", "`route.route-1.replay`: without `retry` or `hedge`, no body is sent again"),
    ] {
        let lines = warnings(&format!("{bounded}{text}"));
        assert!(lines.len() == 1 && lines[0].contains(part), "{text}: {lines:?}");
    }
    let late = "until the percentile is known, a hedge is sent after ";
    for (text, setting, times) in [
        ("hedge = 'p95'\nattempt-timeout = '80ms'", "hedge", "100ms, and the attempt-timeout, 80ms, "),
        (
            "attempt-timeout = '2s'\nhedge = { percentile = 95, first = '2s' }",
            "hedge.first",
            "2s, and the attempt-timeout, 2s, ",
        ),
    ] {
        let lines = warnings(&format!("{bounded}{text}"));
        let part = format!("`route.route-1.{setting}`: {late}{times}");
        assert!(lines.len() == 1 && lines[0].contains(&part), "{text}: {lines:?}");
    }
    for text in [
        "retry = true",
        "retry = true\nreplay = '1MiB'",
        "hedge = 'p95'",
        "attempt-timeout = '1s'",
        "hedge = 'p95'\nattempt-timeout = '101ms'",
        "hedge = '50ms'\nmethods = ['POST', 'HEAD']",
        "hedge = { after = '50ms', methods = ['POST'] }\nmethods = ['POST', 'HEAD']",
    ] {
        assert_eq!(warnings(&format!("{bounded}{text}")), [""; 0], "{text}");
    }
    for (text, part) in [
        (
            "hedge = '50ms'\nmethods = ['POST', 'PUT']",
            "`route.route-1.hedge`: the route's `methods` are none that",
        ),
        (
            "hedge = { after = '50ms', methods = ['POST'] }\nmethods = ['GET', 'PUT']",
            "`route.route-1.hedge.methods`: the route's `methods` are none of",
        ),
    ] {
        let lines = warnings(&format!("{bounded}{text}"));
        assert!(lines.len() == 1 && lines[0].contains(part), "{text}: {lines:?}");
    }
    let one = warnings("upstreams = ['a', 'b']\nqueue = { concurrency = 1 }\nhedge = '50ms'");
    assert!(
        one.len() == 1 && one[0].contains("8:9: `route.route-1.hedge`: a hedge needs a second place"),
        "{one:?}"
    );
    let unbounded = warnings("upstreams = ['a', 'b']\nretry = true\nreplay = '8MiB'");
    let part = "8:10: `route.route-1.replay`: up to 8MiB of each body is kept, and nothing bounds how many";
    assert!(unbounded.len() == 1 && unbounded[0].contains(part), "{unbounded:?}");
    assert_eq!(warnings("upstreams = ['a', 'b']\nretry = true\nreplay = '0'"), [""; 0]);
    let reserve = config("[upstream.a]\nurl = 'http://a'\ndeadline-reserve = '5ms'").warnings.to_string();
    assert!(reserve.contains("`upstream.a.deadline-reserve`: without a `deadline-header`"), "{reserve}");
    let same = format!("{}{bounded}hedge = '50ms'", TWO.replace("//b", "//a"));
    let same = config(&same).warnings.to_string();
    assert!(same.contains("`route.route-1.upstreams.1`: `a` has the same `url`"), "{same}");
}
