use super::*;
use crate::config::parse;
use std::path::Path;

const CONFIG: &str = r#"
trusted-proxies = ["10.0.0.0/8"]
[[listener]]
address = "127.0.0.1:8080"
[upstream.api]
url = "http://127.0.0.1:9000"
[upstream.web]
url = "http://127.0.0.1:9001"
[limit.per-client]
key = "client.ip"
quota = "100/s burst 200"
[limit.all]
key = "global"
quota = "1000/s"
[limit.volume]
key = "client.ip"
cost = "response-bytes"
quota = "1024KiB/s burst 1GB"
[[route]]
name = "login"
host = "api.example.com"
path = "/login"
methods = ["POST", "PUT"]
upstream = "api"
limits = ["all", "per-client", "client.ip+path 5/m", "header:x-api-key 1/s", "volume"]
queue = { concurrency = 8 }
deadline = "2s"
[[route]]
name = "web"
host = "*.example.com"
upstream = "web"
"#;

fn settings() -> Settings {
    parse(Path::new("f"), CONFIG).unwrap().settings
}

fn asked(method: &Method, host: &str, path: &str) -> Asked {
    let (method, host, path) = (method.clone(), host.to_owned(), path.to_owned());
    Asked { method, host, path, headers: HeaderMap::new(), peer: [10, 0, 0, 1].into(), tls: false }
}

#[test]
fn a_request_is_followed_to_its_route() {
    let mut asked = asked(&Method::POST, "API.example.com:8080", "//login?next=/");
    asked.headers.append("x-forwarded-for", "2001:db8:1:2:3:4:5:6".parse().unwrap());
    asked.headers.append("x-api-key", "a".parse().unwrap());
    asked.headers.append("x-api-key", "b".parse().unwrap());
    let expected = "\
request   POST API.example.com:8080/login
client    2001:db8:1:2:3:4:5:6, told by x-forwarded-for; the peer, 10.0.0.1, is trusted
listener  127.0.0.1:8080
route     login
upstream  api at http://127.0.0.1:9000
deadline  2s
queue     login: 8 at once, 100 waiting, then 503
limit     all: 1000 requests a second, at most 1000 at once (1000/s)
          for all together
limit     per-client: 100 requests a second, at most 200 at once (100/s burst 200)
          for each client.ip; here 2001:db8:1:2::/64
limit     login/client.ip+path: 5 requests a minute, at most 5 at once (5/m)
          for each client.ip; here 2001:db8:1:2::/64
          for each path; here /login
limit     login/header:x-api-key: 1 request a second, at most 1 at once (1/s)
          for each header:x-api-key; here a and b
limit     volume: 1MiB of response bodies a second, at most 1GB at once (response-bytes 1MiB/s burst 1GB)
          for each client.ip; here 2001:db8:1:2::/64
";
    let explanation = explain(&settings(), &asked);
    assert_eq!(explanation.to_string(), expected);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["route"]["limits"][2]["key"][1]["values"][0], "/login");
    assert_eq!(json["route"]["queue"]["concurrency"], 8);
    assert_eq!(
        (&json["route"]["limits"][3]["cost"], &json["route"]["limits"][4]["cost"]),
        (&"requests".into(), &"response-bytes".into())
    );
    assert_eq!(json["client"], "2001:db8:1:2:3:4:5:6");
}

#[test]
fn why_a_route_does_not_match_is_told() {
    let expected = "\
request   GET www.example.com/
client    10.0.0.1
listener  none: no such request can arrive
not       login: the host is not `api.example.com`, and the path is not `/login`, and the method is not POST or PUT
route     web
upstream  web at http://127.0.0.1:9001
deadline  30s
queue     web: as many at once as come
limits    none
";
    let over_tls = Asked { tls: true, ..asked(&Method::GET, "www.example.com", "/") };
    assert_eq!(explain(&settings(), &over_tls).to_string(), expected);
    let lost = explain(&settings(), &asked(&Method::GET, "example.com", "/"));
    assert_eq!((lost.passed.len(), lost.route.is_none()), (2, true));
    assert!(lost.to_string().ends_with("route     none: the answer is 404\n"), "{lost}");
    let keyless = explain(&settings(), &asked(&Method::PUT, "api.example.com", "/login")).to_string();
    assert!(
        keyless.contains("for each header:x-api-key; this request has none, which is one more"),
        "{keyless}"
    );
}

#[test]
fn the_route_is_the_one_that_would_match() {
    let settings = settings();
    for method in [Method::GET, Method::POST] {
        for host in ["", "example.com", "api.example.com", "www.example.com:80"] {
            for path in ["/", "/login", "/login/", "/x/../login"] {
                let found = explain(&settings, &asked(&method, host, path)).route.map(|route| route.name);
                let read = Readings::of(path).strict;
                let first = settings.routes.iter().find(|r| r.matches.matches(host, &read, &method));
                assert_eq!(found, first.map(|route| route.name.clone()), "{method} {host} {path}");
            }
        }
    }
}

#[test]
fn a_path_that_leads_two_ways_is_refused() {
    let explanation = explain(&settings(), &asked(&Method::POST, "api.example.com", "/x%2f..%2flogin"));
    assert_eq!((explanation.refused.as_ref().unwrap().0, explanation.route.as_ref()), (400, None));
    let shown = explanation.to_string();
    assert!(
        shown.ends_with("refused   400: the path can be read in more than one way, and it matters which\n"),
        "{shown}"
    );
}

#[test]
fn where_limits_are_counted_is_told_without_a_password() {
    let text = format!("store = 'redis://ann:secret@host'\n{CONFIG}");
    let stored = parse(Path::new("f"), &text).unwrap().settings;
    let asked = asked(&Method::POST, "api.example.com", "/login");
    let told = explain(&stored, &asked).to_string();
    assert!(told.contains("\nstore     redis://ann:…@host\n"), "{told}");
    assert!(told.contains("while the store is away: share"), "{told}");
    let here = explain(&settings(), &asked);
    assert!(!here.to_string().contains("store"), "{here}");
    assert!(!serde_json::to_string(&here).unwrap().contains("away"));
}
