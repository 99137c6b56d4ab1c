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
deadline  2s, then 504
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
deadline  30s, then 504
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

#[test]
fn what_is_sent_again_is_told() {
    let text = "
        [upstream.a]
        url = 'http://a'
        [upstream.b]
        url = 'http://b'
        [[route]]
        queue = { concurrency = 8 }
        upstreams = ['a', 'b']
        retry = { on = ['connect', '503'], budget = '5%' }
        hedge = 'p99'
        attempt-timeout = '2s'
        replay = '1MiB'
    ";
    let settings = crate::config::parse(std::path::Path::new("gateway.toml"), text).unwrap().settings;
    let told = |method: Method| explain(&settings, &asked(&method, "a.test", "/")).to_string();
    let expected = "\
upstream  a at http://a, or another
upstream  b at http://b, or another
attempt   2s at the most
retry     3 attempts at the most, 5% more than requests; on connect, 503
          waits 25ms at the most, then twice as long each, up to 1s
hedge     after what 99% of the answers take, 100ms until that is known, 5% more than tries
          with a body of up to 1MiB
deadline  30s, then 504
";
    let get = told(Method::GET);
    assert!(get.contains(expected), "{get}");
    let post = told(Method::POST);
    assert!(post.contains("this method only if nothing was sent, or with an Idempotency-Key"), "{post}");
    let json = serde_json::to_value(explain(&settings, &asked(&Method::GET, "a.test", "/"))).unwrap();
    assert_eq!(json["route"]["upstreams"][1]["url"], "http://b", "{json}");
    assert_eq!(json["route"]["attempts"]["retry"]["budget"], "5%", "{json}");
}

#[test]
fn whether_this_request_is_sent_again_is_told() {
    let told = |text: &str, method: Method, fields: &[(&'static str, &'static str)]| {
        let text = format!("[upstream.a]\nurl = 'http://a'\n[[route]]\n{text}");
        let settings = parse(Path::new("f"), &text).unwrap().settings;
        let mut asked = asked(&method, "a.test", "/");
        for (name, value) in fields {
            asked.headers.append(*name, value.parse().unwrap());
        }
        explain(&settings, &asked).to_string()
    };
    let (hedge, retry) = ("hedge = '50ms'", "retry = true");
    let promised = "hedge = { after = '50ms', methods = ['PUT', 'POST'] }";
    let key = ("idempotency-key", "a");
    for (text, method, fields, part) in [
        (hedge, Method::POST, &[][..], "hedge     not this one: only GET, HEAD, OPTIONS and TRACE, without"),
        (hedge, Method::PUT, &[], "hedge     not this one: only GET"),
        (hedge, Method::GET, &[key], "hedge     not this one: only GET"),
        (hedge, Method::GET, &[], "hedge     after 50ms, 5% more than tries\n"),
        (promised, Method::PUT, &[], "hedge     after 50ms, 5% more than tries\n"),
        (promised, Method::PUT, &[], "          with a body of up to 64KiB\n"),
        (promised, Method::GET, &[], "hedge     not this method, only PUT, POST\n"),
        (retry, Method::POST, &[key], "          with a body of up to 64KiB\n"),
        (retry, Method::POST, &[key, key], "this method only if nothing was sent"),
        (retry, Method::POST, &[("idempotency-key", "\"\"")], "this method only if nothing was sent"),
        (retry, Method::GET, &[("upgrade", "websocket")], "a change of protocols only if nothing was sent"),
        (hedge, Method::GET, &[("upgrade", "websocket")], "hedge     no change of protocols\n"),
        (hedge, Method::GET, &[], "          by the same upstream, as there is no other\n"),
        (retry, Method::POST, &[], "          by the same upstream, as there is no other\n"),
        (retry, Method::PUT, &[], "nothing bounds how many bodies are kept: the queue has no concurrency"),
    ] {
        let told = told(text, method.clone(), fields);
        assert!(told.contains(part), "{text} {method} {fields:?}: {told}");
    }
    for (text, method, fields) in [
        (hedge, Method::POST, &[][..]),
        (hedge, Method::GET, &[("upgrade", "websocket")]),
        (promised, Method::GET, &[]),
    ] {
        let told = told(text, method, fields);
        assert!(!told.contains("by the same upstream"), "nothing is sent again: {told}");
    }
    let bounded = told("retry = true\nqueue = { concurrency = 8 }", Method::PUT, &[]);
    assert!(!bounded.contains("nothing bounds"), "{bounded}");
}

#[test]
fn deadlines_that_are_passed_on_are_told() {
    let text = "deadline-header = 'x-timeout-ms'\n[upstream.a]\nurl = 'http://a'\ndeadline-header = 'grpc-timeout'\n\
                deadline-reserve = '20ms'\n[[route]]\ndeadline = '2s'";
    let settings = parse(Path::new("f"), text).unwrap().settings;
    let mut asked = asked(&Method::GET, "", "/");
    let expected = "\
deadline  2s, then 504
          or less, if the client says so in x-timeout-ms
          a is told in grpc-timeout what is left, less 20ms
queue";
    let told = explain(&settings, &asked).to_string();
    assert!(told.contains(expected), "{told}");
    asked.headers.insert("x-timeout-ms", "250".parse().unwrap());
    let told = explain(&settings, &asked);
    assert!(told.to_string().contains("in x-timeout-ms; here 250ms\n"), "{told}");
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(
        (&json["route"]["told"][0]["reserve"], &json["route"]["shortened"]["here"]),
        (&"20ms".into(), &"250ms".into())
    );
    asked.headers.insert("x-timeout-ms", "5000".parse().unwrap());
    assert_eq!(
        explain(&settings, &asked).route.unwrap().shortened.unwrap().here,
        None,
        "more than the route allows"
    );
}

const QUEUES: &str = r#"
trusted-proxies = ["10.0.0.0/8"]
[upstream.api]
url = "http://127.0.0.1:9000"
[queue.api]
concurrency = "adaptive"
wait = "50ms"
order = "codel-newest"
full = "drop-oldest"
fair = true
classes = { high = 8, low = 1 }
priority = "x-priority"
[[route]]
queue = "api"
"#;

#[test]
fn what_a_request_waits_in_is_told() {
    let settings = parse(Path::new("f"), QUEUES).unwrap().settings;
    let mut asked = asked(&Method::GET, "", "/");
    asked.headers.append("x-priority", "high".parse().unwrap());
    let expected = "\
queue     api: as many as it works on at once, 100 waiting for 50ms at the most, then 503
          from 1 to 10000, 10 at first; fewer after timeouts and 503, 504
          a deadline that passes there is such a timeout if it had the request for as long as good answers take, and for 15s where none is known or its client allows less time
          while nobody has waited less than 5ms for 150ms, who has waited 10ms is shed, and who came last is next
          where 100 wait, who has waited longest gives way
          each client.ip has its turn; here 10.0.0.1
          class high: 8 of 9 places while all classes want theirs; told by x-priority
";
    let explanation = explain(&settings, &asked);
    assert!(explanation.to_string().contains(expected), "{explanation}");
    let json = serde_json::to_value(&explanation).unwrap();
    let queue = &json["route"]["queue"];
    assert_eq!((&queue["concurrency"], &queue["adaptive"]["max"]), (&"adaptive".into(), &10_000.into()));
    assert_eq!((&queue["class"]["name"], &queue["order"]), (&"high".into(), &"codel-newest".into()));

    let client = Asked { peer: [192, 0, 2, 1].into(), ..asked };
    let told = explain(&settings, &client).to_string();
    assert!(told.contains("class low: 1 of 9 places while all classes want theirs; x-priority is not heard, as the peer is no"), "{told}");
}

#[test]
fn how_long_the_line_is_where_nothing_is_said_is_told() {
    let told = |queue: &str| {
        let text = format!("[upstream.a]\nurl = 'http://a'\n[[route]]\nqueue = {{ {queue} }}");
        let explanation =
            explain(&parse(Path::new("f"), &text).unwrap().settings, &asked(&Method::GET, "", "/"));
        let json = serde_json::to_value(&explanation).unwrap();
        (explanation.to_string(), json["route"]["queue"]["wait_of_services"].clone())
    };
    let words = "as many as it works on at once, 9 waiting, then 503\n          \
                 who would wait for more than 1.5 times what one takes is turned away before\n";
    let (text, services) = told("concurrency = 'adaptive', waiting = 9");
    assert!(text.contains(words) && services == 1.5, "{text}");
    for queue in [
        "concurrency = 9",
        "concurrency = 'adaptive', wait = '50ms'",
        "concurrency = 'adaptive', order = 'codel'",
    ] {
        let (text, services) = told(queue);
        assert!(!text.contains("times what one takes") && services.is_null(), "{queue}: {text}");
    }
}

#[test]
fn a_share_and_what_is_learned_from_a_deadline_are_told() {
    let text = "[upstream.a]\nurl = 'http://a'\n\
                [queue.fixed]\nconcurrency = 8\n[queue.found]\nconcurrency = 'adaptive'\n\
                [[route]]\nname = 'pay'\npath = '/pay'\nqueue = 'fixed'\nshare = 0.3\n\
                [[route]]\nname = 'rest'\npath = '/rest'\nqueue = 'fixed'\n\
                [[route]]\nname = 'shop'\npath = '/shop'\nqueue = 'found'\nshare = 0.25\n\
                [[route]]\nname = 'all'\nqueue = 'found'\nattempt-timeout = '4s'";
    let settings = parse(Path::new("f"), text).unwrap().settings;
    let told = |path: &str| {
        let explanation = explain(&settings, &asked(&Method::GET, "", path));
        let json = serde_json::to_value(&explanation).unwrap();
        (explanation.to_string(), json["route"]["queue"].clone())
    };
    let (pay, json) = told("/pay");
    assert!(
        pay.contains(
            "\n          2 of the 8 are kept for this route while it needs them, and it waits in a line"
        ),
        "{pay}"
    );
    assert_eq!(json["share"], 0.3);
    let (rest, json) = told("/rest");
    assert!(
        rest.contains("\n          2 of the 8 are kept for other routes while they need them\n"),
        "{rest}"
    );
    assert!(json["share"].is_null() && json["kept_for_others"] == 0.3 && json["places_kept"] == 2, "{json}");
    let few = parse(Path::new("f"), &text.replace("concurrency = 8", "concurrency = 3")).unwrap().settings;
    let told_of_few = |path: &str| explain(&few, &asked(&Method::GET, "", path)).to_string();
    let own = "\n          none of the 3 is kept, as its share is less than one, but it waits in a line of its own\n";
    assert!(told_of_few("/pay").contains(own), "{}", told_of_few("/pay"));
    let others = "\n          none of the 3 is kept, as each share of another route is less than one\n";
    assert!(told_of_few("/rest").contains(others), "{}", told_of_few("/rest"));
    let (shop, json) = told("/shop");
    assert!(
        shop.contains("\n          0.25 of the places are kept for this route")
            && shop.contains(" for as long as good answers take, and for 15s where none is known or its client allows less time\n"),
        "{shop}"
    );
    assert_eq!(json["adaptive"]["long_without_answer"], "15s");
    assert_eq!(told("/else").1["adaptive"]["long_without_answer"], "2s", "half of what an attempt may take");
}
