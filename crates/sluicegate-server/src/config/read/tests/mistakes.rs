use super::*;

#[test]
fn a_mistake_is_shown_in_its_place() {
    let text = "[limit.per-client]\nkey = \"client.ip\"\nquota = \"100/s burst 0\"\n\n\
                [[route]]\nname = \"all\"\nlimits = [\"per-cleint\"]\n\
                [[route]]\nname = \"login\"\npath = \"/login\"\ndeadlin = \"2s\"\n";
    let expected = r#"error: `limit.per-client.quota` can't be `100/s burst 0`: burst `0`
 --> gateway.toml:3:9
  |
3 | quota = "100/s burst 0"
  |         ^^^^^^^^^^^^^^^
  |
  = help: expected at least 1 (for a limit that grants nothing, `ban`)

error: `route.all.limits.0` can't be `per-cleint`
 --> gateway.toml:7:11
  |
7 | limits = ["per-cleint"]
  |           ^^^^^^^^^^^^
  |
  = help: did you mean `per-client`?
  = help: expected the name of one there is: per-client; or a rule of this route's own, such as `client.ip 5/s`

error: the route `login` can never match
 --> gateway.toml:9:8
  |
6 | name = "all"
  |        ----- the other is here
...
9 | name = "login"
  |        ^^^^^^^
  |
  = help: expected a place before `all`, which matches all that this one would and stands first

error: unknown key `deadlin` in `route.login`
  --> gateway.toml:11:1
   |
11 | deadlin = "2s"
   | ^^^^^^^
   |
   = help: did you mean `deadline`?
   = help: expected one of name, host, path, methods, upstream, upstreams, limits, queue, class, share, deadline, retry, hedge, replay, attempt-timeout

gateway.toml: 4 mistakes"#;
    let error = wrong(text);
    assert_eq!(error.render(false), expected);
    assert!(error.render(true).contains("\u{1b}["));
    assert_eq!(
        error.to_string(),
        "gateway.toml:3:9: `limit.per-client.quota` can't be `100/s burst 0`: burst `0`; \
         expected at least 1 (for a limit that grants nothing, `ban`) (the first of 4 mistakes)"
    );
}

#[test]
fn each_mistake_says_what_would_be_right() {
    let long = format!("grace = \"{}\"", "x".repeat(1000));
    let cases: &[(&str, &[&str])] = &[
        (
            "[limit.a]\nkey = 'path'\ncost = 'byte'\nquota = '10MiB/s'",
            &[
                "3:8: `limit.a.cost` can't be `byte`; expected `requests`, `request-bytes`, `response-bytes` or `bytes`",
            ],
        ),
        (
            "[limit.a]\nkey = 'path'\nquota = '10MiB/s'",
            &[
                "3:9: `limit.a.quota` can't be `10MiB/s`; expected a quota of requests, such as `100/s`; one of bytes",
            ],
        ),
        (
            "[limit.a]\nkey = 'path'\ncost = 'bytes'\nquota = '10mb/s'",
            &[
                "4:9: `limit.a.quota` can't be `10mb/s`; expected a quota of bytes, such as `10MiB/s burst 64MiB`: ",
            ],
        ),
        (
            "[[route]]\nlimits = ['path reply-bytes 10MiB/s']",
            &[
                "2:11: `route.route-1.limits.0` can't be `path reply-bytes 10MiB/s`; expected `requests`, `request-bytes`",
            ],
        ),
        ("wrokers = 1", &["1:1: unknown key `wrokers`; expected one of admin, ", "did you mean `workers`?"]),
        ("workers = \"2\"", &["1:11: `workers` can't be a string; expected a whole number, without quotes"]),
        ("workers = 5_000", &["1:11: `workers` can't be `5000`; expected from 0 to 1024"]),
        ("workers = -1", &["1:11: `workers` can't be `-1`; expected a whole number, 0 or more"]),
        ("grace = 10", &["1:9: `grace` can't be a number; expected a string: a number and a unit"]),
        ("grace = '25h'", &["1:9: `grace` can't be `90000s`; expected at most 24h"]),
        ("header-timeout = '0s'", &["1:18: `header-timeout` can't be `0s`; expected a time from 1ms to 24h"]),
        ("admin = 'localhost'", &["1:9: `admin` can't be `localhost`; expected an IP address and a port"]),
        (
            "admin = '127.0.0.1:8080'\n[[listener]]\naddress = '127.0.0.1:8080'",
            &["1:9: `admin` can't be `127.0.0.1:8080`"],
        ),
        ("log = 'jsn'", &["1:7: `log` can't be `jsn`; expected `text` or `json`"]),
        (
            "trusted-proxies = ['10.0.0.0/33']",
            &["1:20: `trusted-proxies.0` can't be `10.0.0.0/33`; expected a network"],
        ),
        (
            "trusted-proxies = '10.0.0.0/8'",
            &["1:19: `trusted-proxies` can't be a string; expected a list of strings"],
        ),
        ("ipv6-prefix = 300", &["1:15: `ipv6-prefix` can't be `300`; expected from 1 to 128"]),
        ("ipv6-prefix = 0", &["1:15: `ipv6-prefix` can't be `0`; expected from 1 to 128"]),
        ("forwarded-header = 'x-real-ip'", &["1:20: ", "expected `x-forwarded-for` or `forwarded`"]),
        ("[listener]\naddress = '127.0.0.1:1'", &["1:1: `listener` can't be a table; ", "`[[listener]]`"]),
        ("[[listener]]\n", &["1:1: `listener.0` has no `address`"]),
        (
            "[[listener]]\naddress = '127.0.0.1:1'\ntls = { certificate = 'a' }",
            &["3:7: `listener.0.tls` has no `key`"],
        ),
        ("[upstream]\nurl = 'http://a'", &["2:7: `upstream.url` can't be a string; ", "`[upstream.NAME]`"]),
        ("[upstream.a]\nurl = 'http://a/b'", &["2:7: `upstream.a.url` can't be `http://a/b`"]),
        ("[upstream.a]\n", &["1:11: `upstream.a` has no `url`; expected an address"]),
        (
            "[upstream.a]\nurl = 'http://a'\n[upstream.b]\nurl = 'http://b'",
            &["3:11: there are several upstreams and no route"],
        ),
        (
            "[upstream.a]\nurl = 'http://a'\n[upstream.b]\nurl = 'http://b'\n[[route]]\n",
            &["5:1: `route.route-1` has no `upstream`; ", "one of a, b"],
        ),
        ("[limit.a]\nquota = '1/s'", &["1:8: `limit.a` has no `key`"]),
        (
            "[limit.a]\nkey = 'client'\nquota = '1/s'",
            &["2:7: `limit.a.key` can't be `client`; expected a key (global, "],
        ),
        (
            "[limit.a]\nkey = 'path'\nquota = '100'",
            &["3:9: `limit.a.quota` can't be `100`; ", "`100/s` or `stock 100`"],
        ),
        (
            "[limit.'a b']\nkey = 'path'\nquota = '1/s'",
            &["1:8: `limit.a b` can't be `a b`; expected a name of"],
        ),
        (
            "[queue.a]\nreject-status = 200",
            &["2:17: `queue.a.reject-status` can't be `200`; expected a status from 400 to 599"],
        ),
        ("[queue.a]\nreject-status = 70000", &["2:17: ", "expected a status from 400 to 599"]),
        ("[[route]]\nqueue = { concurrency = 0 }", &["2:25: `queue.route-1.concurrency` can't be `0`"]),
        (
            "[[route]]\nqueue = 8",
            &["2:9: `route.route-1.queue` can't be a number; expected the name of a queue"],
        ),
        ("[queue.api]\n[[route]]\nqueue = 'aip'", &["3:9: ", "did you mean `api`?"]),
        (
            "[[route]]\nlimits = ['client.ip 5']",
            &["2:11: `route.route-1.limits.0` can't be `client.ip 5`; ", "`5/s`"],
        ),
        (
            "[[route]]\nlimits = ['client.ip']",
            &["2:11: ", "expected the name of one, but there is none; or a rule"],
        ),
        ("[[route]]\nmethods = ['post']", &["2:12: ", "expected a method in upper case"]),
        ("[[route]]\nmethods = []", &["2:11: `route.route-1.methods` can't be empty"]),
        (
            "[[route]]\nhost = 'a:80'",
            &["2:8: `route.route-1.host` can't be `a:80`; expected a host without a port"],
        ),
        ("[[route]]\npath = 'login'", &["2:8: ", "expected a path that begins with `/`"]),
        ("[[route]]\nname = 'a\\nb'", &["2:8: `route.a\\nb`"]),
        ("a = 1\na = 1", &["2:1: duplicate key; expected each key once"]),
        ("a = 'x\n", &["1:7: invalid literal string"]),
        ("é = 1", &["1:1: "]),
        (&long, &["1:9: `grace` can't be `xxxx", "x…`; expected a number and a unit"]),
    ];
    let mut bad = Vec::new();
    for (text, parts) in cases {
        let lines = wrong(text).lines();
        let found = lines.len() == 1 && lines[0].starts_with("gateway.toml:");
        if !found || !parts.iter().all(|part| lines[0].contains(part)) || lines[0].len() > 600 {
            bad.push(format!("{text}: {lines:?} without {parts:?}"));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = FULL
        .replace("max-headers = 5", "max-headers = 0")
        .replace("\"1s\"", "1")
        .replace("idle = 3", "idel = 3")
        .replace("5/s\"]", "5\"]");
    let lines = wrong(&text).lines();
    let starts = [
        "gateway.toml:6:18: `header-timeout` can't be a number",
        "gateway.toml:11:15: `max-headers` can't be `0`",
        "gateway.toml:27:1: unknown key `idel`",
        "gateway.toml:48:25: `route.login.limits.1`",
        "gateway.toml:56:8: the route `rest` can never match",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}: {start}");
    }
}

#[test]
fn many_mistakes_are_counted() {
    let text: String = (0..1000).map(|number| format!("unknown-{number} = 1\n")).collect();
    let ConfigError::Wrong(mistakes) = wrong(&text) else { unreachable!() };
    assert_eq!((mistakes.count(), mistakes.iter().count()), (1000, 100));
    assert!(mistakes.render(false).ends_with("gateway.toml: 1000 mistakes, the first 100 shown"));
}

#[test]
fn a_mistake_at_the_end_of_a_line_is_shown() {
    for text in ["a = '\r\nb = 1", "a = '\r\n", "a = ", "a = 'é"] {
        assert!(wrong(text).render(false).contains(" --> gateway.toml:1:"), "{text:?}");
    }
}

#[test]
fn a_file_that_is_all_of_one_thing_is_refused() {
    let route = "[[route]]\nlimits = ['path 1/s']\nmethods = ['A']\n";
    let list = |item: &str| {
        format!("[[route]]\nname = 'a'\nlimits = [{}]\n", item.repeat(MAX_BYTES / item.len() / 2))
    };
    for (text, message) in [
        ("[[route]]\n".repeat(MAX_BYTES / 10), "`route` can't be `1025`; expected from 1 to 1024"),
        (route.repeat(MAX_BYTES / route.len()), "`route` can't be `1025`"),
        (list("'path 1/s',"), "`route.a.limits` can't be `1025`; expected from 0 to 32"),
        (list("'path 1/s',").replace("limits = ", "methods = "), "a method in upper case"),
        (
            list("'A',").replace("limits", "methods"),
            "`route.a.methods` can't be `1025`; expected from 0 to 32",
        ),
        (format!("trusted-proxies = [{}]", "'::1',".repeat(100_000)), "`trusted-proxies` can't be `1025`"),
        (format!("[[route]]\nupstream = '{0}'\n[upstream.{0}1]", "a".repeat(400_000)), "has no `url`"),
        ("a\n".repeat(MAX_BYTES / 16), "key with no value"),
        ("[".repeat(MAX_BYTES), ""),
        (format!("a = {}", "[".repeat(MAX_BYTES - 4)), ""),
        (format!("a = {}", "{a=".repeat(MAX_BYTES / 4)), ""),
        ("a.".repeat(MAX_BYTES / 2), ""),
    ] {
        let error = wrong(&text);
        let lines = error.lines();
        let start: String = text.chars().take(40).collect();
        assert!(lines.iter().any(|line| line.contains(message)), "{start}: {:?}", lines.first());
        assert!(error.render(false).contains("mistake"), "{start}");
    }
}

mod whatever_is_in_it {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that mean something, in any order.
    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "[[route]]\n",
            "[[listener]]\n",
            "[limit.a]\n",
            "[queue.a]\n",
            "[upstream.a]\n",
            "[limit]\n",
            "name = ",
            "limits = ",
            "queue = ",
            "key = ",
            "quota = ",
            "url = ",
            "tls = ",
            "address = ",
            "path = ",
            "workers = ",
            "'a'\n",
            "\"client.ip 5/s\"\n",
            "['a', 7, 'path 1/s']\n",
            "{ concurrency = 0 }\n",
            "'é\u{1F600}'\n",
            "-7\n",
            "'''\n\n'''\n",
            "[[1], {}]\n",
            "\u{feff}",
            "\r\n",
            "\t",
            "'",
            "\"",
            "[",
            "=",
            "é",
            "\0",
        ];
        let piece =
            prop_oneof![9 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,9}"];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn it_is_read_or_its_mistakes_are_shown(text in text()) {
            match parse(Path::new("f"), &text) {
                Ok(config) => prop_assert!(config.settings.mistakes().is_empty()),
                Err(error) => {
                    prop_assert!(!error.lines().is_empty());
                    prop_assert!(error.lines().iter().all(|line| !line.contains('\n')), "{:?}", error.lines());
                    prop_assert!(error.render(false).contains("mistake") && error.render(true).contains("mistake"));
                }
            }
        }
    }
}
