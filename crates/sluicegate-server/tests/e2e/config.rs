//! `serve --config FILE`: several listeners, and routes with limits, queues and deadlines of their own.
use crate::programs::Folder;
use crate::{SLUICEGATE, get_with, spawn_get};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Answer, Client, Http2, Raw, request};
use sluicegate_testkit::process::{Sluicegate, run};
use sluicegate_testkit::upstream::Upstream;

const OK: StatusCode = StatusCode::OK;
const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Serves what a file says that is kept in `folder`.
async fn serve(folder: &Folder, config: &str) -> Sluicegate {
    let file = folder.write("gateway.toml", config);
    Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await
}

/// Two services, and routes of all kinds to them.
fn config(web: &Upstream, api: &Upstream) -> String {
    format!(
        r#"
admin = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"

[upstream.web]
url = "{}"
[upstream.api]
url = "{}"

[limit.everybody]
key = "client.ip"
quota = "stock 1000"
[queue.api]
concurrency = 1
waiting = 1

[[route]]
name = "login"
path = "/login"
upstream = "web"
limits = ["everybody", "path stock 3"]
[[route]]
name = "reads"
host = "api.example.test"
methods = ["GET", "HEAD"]
upstream = "api"
queue = "api"
deadline = "60s"
limits = ["everybody"]
[[route]]
name = "writes"
host = "api.example.test"
path = "/gated/**"
methods = ["PUT"]
upstream = "api"
queue = {{ concurrency = 1, waiting = 0, reject-status = 502 }}
deadline = "60s"
[[route]]
name = "names"
host = "*.example.test"
path = "/*/named"
upstream = "web"
deadline = "300ms"
"#,
        web.url(),
        api.url()
    )
}

async fn ask(client: Client, method: Method, host: &str, target: &str) -> Answer {
    let mut request = request(method, target, Script::empty());
    request.headers_mut().insert("host", host.parse().unwrap());
    client.send(request).await
}

#[tokio::test]
async fn a_request_goes_where_its_host_path_and_method_say() {
    let (web, api) = (Upstream::start(), Upstream::start());
    let folder = Folder::new();
    let gateway = serve(&folder, &config(&web, &api)).await;
    api.open_all();
    assert_eq!(gateway.listeners().len(), 2);
    for (n, listener) in gateway.listeners().iter().enumerate() {
        let client = Client::new(*listener);
        for (method, host, target, expected) in [
            (Method::GET, "a.test", "/login", Some(&web)),
            (Method::GET, "api.example.test", "/login?x=1", Some(&web)),
            (Method::GET, "api.example.test", "/any/thing", Some(&api)),
            (Method::GET, "API.Example.Test:8080", "/any/thing", Some(&api)),
            (Method::PUT, "api.example.test", "/gated", Some(&api)),
            (Method::PUT, "api.example.test", "/gated/1/2", Some(&api)),
            (Method::PUT, "api.example.test", "/other", None),
            (Method::DELETE, "api.example.test", "/gated/1", None),
            (Method::PUT, "api.example.test", "/x/named", Some(&web)),
            (Method::GET, "b.example.test", "/x/named", Some(&web)),
            (Method::GET, "example.test", "/x/named", None),
            (Method::GET, "b.example.test", "/x/y/named", None),
            (Method::GET, "a.test", "/log", None),
            (Method::GET, "a.test", "/LOGIN", None),
        ] {
            // The quota of that one is another test's.
            if n == 1 && target.starts_with("/login") {
                continue;
            }
            let answer = ask(client, method.clone(), host, target).await;
            let what = format!("listener {n}: {method} {host} {target}");
            let seen = [&web, &api].map(|upstream| upstream.take_targets().len());
            let wanted = [&web, &api].map(|upstream| {
                usize::from(expected.is_some_and(|expected| std::ptr::eq(expected, upstream)))
            });
            assert_eq!(seen, wanted, "{what}");
            if expected.is_none() {
                assert_eq!(answer.status, NOT_FOUND, "{what}");
                answer.problem();
            } else {
                assert_eq!(answer.status, OK, "{what}");
            }
        }
    }
    let link = Http2::connect(gateway.client()).await;
    assert_eq!(link.get("http://api.example.test/two").await.status, OK);
    assert_eq!(link.get("http://elsewhere.test/two").await.status, NOT_FOUND);
    assert_eq!((web.take_targets().len(), api.take_targets().len()), (0, 1));
    gateway.until_metric("sluicegate_refusals_total", &[("reason", "no_route")], 13).await;
}

#[tokio::test]
async fn a_path_meets_its_limit_however_it_is_spelled() {
    let (web, api) = (Upstream::start(), Upstream::start());
    let folder = Folder::new();
    let gateway = serve(&folder, &config(&web, &api)).await;
    let spelled = [
        "/login",
        "//login",
        "/%6cogin",
        "/x/../login",
        "/./login",
        "/%2e/login",
        "/x/%2E%2e/login",
        "/login?next=/",
        "/%6C%6f%67%69%6e",
    ];
    for (n, target) in spelled.iter().cycle().take(2 * spelled.len()).enumerate() {
        let mut client = Raw::connect(gateway.addr()).await;
        let ask = format!("GET {target} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
        client.write(ask).await;
        let head = client.read_head().await;
        let expected = if n < 3 { "HTTP/1.1 200 " } else { "HTTP/1.1 429 " };
        assert!(head.starts_with(expected), "{n}: {target}: {head}");
    }
    assert_eq!(web.counters().total, 3);
}

#[tokio::test]
async fn each_route_has_its_own_limits_queue_and_deadline() {
    let (web, api) = (Upstream::start(), Upstream::start());
    let folder = Folder::new();
    let gateway = serve(&folder, &config(&web, &api)).await;
    let client = gateway.client();
    let read = || tokio::spawn(async move { ask(client, Method::GET, "api.example.test", "/gated").await });
    let served = read();
    api.until("one at the gate", |seen| seen.in_flight == 1).await;
    let waiting = read();
    gateway.until_metric("sluicegate_queue_waiting", &[("queue", "api")], 1).await;
    gateway.until_metric("sluicegate_in_flight", &[("queue", "api")], 1).await;
    assert_eq!(read().await.unwrap().status, UNAVAILABLE);

    // Another queue, with a status of its own, to the same service.
    let write = || tokio::spawn(async move { ask(client, Method::PUT, "api.example.test", "/gated").await });
    let written = write();
    gateway.until_metric("sluicegate_in_flight", &[("queue", "writes")], 1).await;
    assert_eq!(write().await.unwrap().status, StatusCode::BAD_GATEWAY);

    // Another deadline.
    let late = ask(client, Method::GET, "b.example.test", "/gated/named").await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    late.problem();

    // Limits of routes: one that is shared, and one of a route's own.
    let login = spawn_get(client, "/login").await.unwrap();
    let policy = login.header("ratelimit-policy").expect("limits");
    assert!(policy.contains("\"everybody\";q=1000") && policy.contains("\"login/path\";q=3"), "{policy}");
    let left = crate::fields::remaining(&login);
    assert_eq!((left["login/path"], left["everybody"]), (2, 997), "two reads and this one");
    for _ in 0..2 {
        assert_eq!(client.send(get_with("/login", "x-user", "a")).await.status, OK);
    }
    let refused = client.get("/login").await;
    assert_eq!(
        (refused.status, refused.problem().violated_policies),
        (TOO_MANY, vec!["login/path".to_owned()])
    );
    api.open_all();
    for answer in [served, waiting] {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, crate::fields::remaining(&answer).len()), (OK, 1));
    }
    assert_eq!(written.await.unwrap().status, OK);
}

#[tokio::test]
async fn a_file_with_mistakes_is_not_served() {
    let folder = Folder::new();
    let file = folder.write(
        "gateway.toml",
        "admin = \"127.0.0.1:0\"\nwrokers = 2\n\n[[listener]]\naddress = \"localhost\"\n\n[upstream.a]\nurl = \"ftp://a\"\n",
    );
    let ended = run(SLUICEGATE, &["serve", "--config", &file]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in ["gateway.toml:2:1", "`wrokers`", "did you mean `workers`?", "gateway.toml: 3 mistakes"] {
        assert!(ended.stderr.contains(part), "{part} is missing in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
    let missing = run(SLUICEGATE, &["serve", "--config", &folder.path("missing.toml")]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("missing.toml"), "{missing:?}");
    let both = run(SLUICEGATE, &["serve", "--config", &file, "--listen", "127.0.0.1:0"]).await;
    assert_eq!(both.code, Some(2), "a file says all of it: {both:?}");
}
