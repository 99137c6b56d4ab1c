use super::*;
use crate::config::settings::{Concurrency, ForwardedHeader, ListenerSettings, QueueSettings};
use http::{Method, StatusCode};
use std::time::Duration;

mod attempts;
mod mistakes;
mod queues;

/// Of a file that has an upstream behind all else, if it says none.
fn config(text: &str) -> Config {
    let upstream =
        if text.contains("[upstream") { "" } else { "\n[upstream.default]\nurl = 'http://127.0.0.1:9000'" };
    let text = &format!("{text}{upstream}");
    parse(Path::new("conf/gateway.toml"), text).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn wrong(text: &str) -> ConfigError {
    parse(Path::new("gateway.toml"), text).unwrap_err()
}

const FULL: &str = r#"
admin = "127.0.0.1:9090"
workers = 2
grace = "20s"
log = "json"
header-timeout = "1s"
idle-timeout = "2s"
body-stall-timeout = "3s"
stream-idle-timeout = "4s"
max-header-bytes = 8192
max-headers = 5
max-connections = 6
max-streams = 7
trusted-proxies = ["10.1.2.3/8", "::1", "::ffff:192.0.2.0/120"]
forwarded-header = "Forwarded"
ipv6-prefix = 56

[[listener]]
address = "127.0.0.1:8080"
[[listener]]
address = "127.0.0.1:8443"
tls = { certificate = "cert.pem", key = "/etc/key.pem" }

[upstream.api]
url = "http://127.0.0.1:9000"
connect-timeout = "2s"
idle = 3
idle-timeout = "4s"
[upstream.web]
url = "http://127.0.0.1:9001"

[limit.per-client]
key = "client.ip"
quota = "100/s burst 200"
max-keys = 10

[queue.api]
concurrency = 8
waiting = 9
reject-status = 429

[[route]]
name = "login"
host = "api.example.com"
path = "/login"
methods = ["POST"]
upstream = "api"
limits = ["per-client", "client.ip+path 5/s"]
queue = "api"
deadline = "2s"
[[route]]
upstream = "web"
limits = ["header:x-key 1/s", "header:x-key 10/m"]
queue = { concurrency = 1 }
[[route]]
name = "rest"
upstream = "api"
path = "/**"
"#;

#[test]
fn a_file_says_everything() {
    // The last route could never match.
    let text = FULL.replace("name = \"rest\"", "name = \"rest\"\nhost = \"b\"");
    let text = text.replace("upstream = \"web\"", "upstream = \"web\"\npath = \"/web\"");
    let Config { settings, log, warnings, .. } = config(&text);
    assert_eq!((log, warnings.count()), (LogFormat::Json, 0));
    assert_eq!(settings.admin, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!((settings.workers, settings.grace), (2, Duration::from_secs(20)));
    let clients = &settings.clients;
    let times = [
        clients.header_timeout,
        clients.idle_timeout,
        clients.body_stall_timeout,
        clients.stream_idle_timeout,
    ];
    assert_eq!(times.map(|time| time.as_secs()), [1, 2, 3, 4]);
    let sizes = [clients.max_header_bytes, clients.max_headers, clients.max_connections, clients.max_streams];
    assert_eq!(sizes, [8192, 5, 6, 7]);
    let proxies: Vec<String> = settings.identity.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128", "192.0.2.0/24"]);
    assert_eq!(
        (settings.identity.forwarded_header, settings.identity.ipv6_prefix),
        (ForwardedHeader::Forwarded, 56)
    );
    let tls = settings.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.certificate, Path::new("conf/cert.pem"), "beside the file");
    assert_eq!(tls.key, Path::new("/etc/key.pem"));
    let api = &settings.upstreams[0];
    assert_eq!(
        (api.connect_timeout.as_secs(), api.idle, api.idle_timeout.as_secs(), api.url.to_string().as_str()),
        (2, 3, 4, "http://127.0.0.1:9000/")
    );
    let limits: Vec<(&str, String, usize)> = settings
        .limits
        .iter()
        .map(|limit| (limit.name.as_str(), limit.rule.to_string(), limit.max_keys))
        .collect();
    let own = 1_000_000;
    assert_eq!(
        limits,
        [
            ("per-client", "client.ip 100/s burst 200".to_owned(), 10),
            ("login/client.ip+path", "client.ip+path 5/s".to_owned(), own),
            ("route-2/header:x-key", "header:x-key 1/s".to_owned(), own),
            ("route-2/header:x-key-2", "header:x-key 10/m".to_owned(), own),
        ]
    );
    let queue = |name: &str, concurrency: Option<usize>, waiting, reject_status| QueueSettings {
        name: name.to_owned(),
        concurrency: concurrency.map(Concurrency::from).unwrap_or_default(),
        waiting,
        reject_status,
        ..QueueSettings::default()
    };
    assert_eq!(
        settings.queues,
        [
            queue("api", Some(8), 9, StatusCode::TOO_MANY_REQUESTS),
            queue("route-2", Some(1), 100, StatusCode::SERVICE_UNAVAILABLE),
            queue("rest", None, 100, StatusCode::SERVICE_UNAVAILABLE),
        ]
    );
    let login = &settings.routes[0];
    assert_eq!(
        (login.name.as_str(), login.upstreams[0].as_str(), login.queue.as_str()),
        ("login", "api", "api")
    );
    assert_eq!(
        (login.limits.join(" "), login.deadline.as_secs()),
        ("per-client login/client.ip+path".to_owned(), 2)
    );
    assert!(login.matches.matches("api.example.com", "/login", &Method::POST));
    assert_eq!(settings.routes[1].queue, "route-2");
    assert_eq!(settings.routes[2].deadline, Duration::from_secs(30));
}

#[test]
fn a_file_that_says_nothing_else_has_the_defaults() {
    assert!(wrong("").lines()[0].contains("there is no upstream; expected where requests go"));
    assert!(wrong("[[listener]]\naddress = '127.0.0.1:1'").to_string().contains("there is no upstream"));
    let Config { settings, log, .. } = config("");
    assert_eq!((settings, log), (Settings::default(), LogFormat::Text));
    let settings = config("[upstream.api]\nurl = 'http://a'").settings;
    assert_eq!(settings.routes[0].upstreams, ["api"]);
    let default = |address: &str| ListenerSettings { address: address.parse().unwrap(), tls: None };
    assert_eq!(settings.listeners, [default("127.0.0.1:8080")]);
}

#[test]
fn a_rule_keeps_its_name_when_routes_move() {
    let route = |name: &str, limit: &str| {
        format!("[[route]]\nname = '{name}'\npath = '/{name}'\nlimits = ['{limit}']\n")
    };
    let names = |text: &str| {
        let settings = config(text).settings;
        let mut names: Vec<String> =
            settings.limits.iter().map(|limit| format!("{}: {}", limit.name, limit.rule.quota)).collect();
        names.sort();
        names.join(", ")
    };
    let (a, b) = (route("a", "client.ip 1/s"), route("b", "client.ip 2/s"));
    assert_eq!(names(&a), "a/client.ip: 1/s");
    assert_eq!(names(&format!("{a}{b}")), "a/client.ip: 1/s, b/client.ip: 2/s");
    assert_eq!(names(&format!("{b}{a}")), "a/client.ip: 1/s, b/client.ip: 2/s");
    let named = "[limit.'client.ip']\nkey = 'client.ip'\nquota = '3/s'\n";
    assert_eq!(names(&format!("{named}{a}")), "a/client.ip: 1/s, client.ip: 3/s");
    let queues = config("[queue.a]\n[[route]]\nname = 'a'\n").settings.queues;
    assert_eq!(queues[1].name, "a/queue", "a queue of its own is not the one that a name would say");
}

#[test]
fn what_is_never_used_is_a_warning() {
    let config = config("[limit.x]\nkey = 'path'\nquota = '1/s'\n[queue.y]\n");
    let lines: Vec<String> = config.warnings.lines().collect();
    assert_eq!(
        lines,
        [
            "conf/gateway.toml:1:8: no route has the limit `x`; expected a route that names it",
            "conf/gateway.toml:4:8: no route has the queue `y`; expected a route that names it",
        ]
    );
    assert!(config.warnings.render_as_warnings(false).starts_with("warning: no route"));
}

#[test]
fn what_is_found_later_is_shown_too() {
    let config =
        config("[[listener]]\naddress = '127.0.0.1:1'\ntls = { certificate = '/nonexistent/a', key = '/' }");
    let wrong = [
        SettingsError::new("listener.0.tls.certificate", "/nonexistent/a", "a certificate"),
        SettingsError::new("listener.0.tls.key", "/", "a file"),
    ];
    let lines = config.source.wrong(&wrong).lines();
    let at = "conf/gateway.toml:3:";
    assert_eq!(
        lines,
        [
            format!("{at}23: `listener.0.tls.certificate` can't be `/nonexistent/a`; expected a certificate"),
            format!("{at}47: `listener.0.tls.key` can't be `/`; expected a file"),
        ]
    );
}

#[test]
fn only_a_file_of_a_fair_size_is_read() {
    let error = read(Path::new("/nonexistent/gateway.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(matches!(read(Path::new("/dev/zero")).unwrap_err(), ConfigError::TooLarge { .. }));
    let file = std::env::temp_dir().join(format!("sluicegate-{}.toml", std::process::id()));
    std::fs::write(&file, b"# a\n\xff").unwrap();
    let error = read(&file).unwrap_err();
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(error, ConfigError::NotText { line: 2, .. }), "{error}");
}

#[test]
fn a_limit_says_what_it_counts() {
    let text = "[limit.volume]\nkey = 'client.ip'\ncost = 'response-bytes'\nquota = '10MiB/s burst 1GB'\n\
                [limit.plain]\nkey = 'path'\ncost = 'requests'\nquota = '5/s'\n\
                [[route]]\nlimits = ['volume', 'plain', 'client.ip bytes stock 1kB', 'client.ip 5/s']\n";
    let settings = config(text).settings;
    let limits: Vec<_> = settings.limits.iter().map(|l| (l.name.as_str(), l.rule.to_string())).collect();
    let expected = [
        ("volume", "client.ip response-bytes 10MiB/s burst 1GB"),
        ("plain", "path 5/s"),
        ("route-1/client.ip/bytes", "client.ip bytes stock 1kB"),
        ("route-1/client.ip", "client.ip 5/s"),
    ];
    assert_eq!(limits, expected.map(|(name, rule)| (name, rule.to_owned())));
    assert_eq!(
        settings.limits[0].space(),
        "volume client.ip response-bytes",
        "what it counts is a part of what it is"
    );
}
