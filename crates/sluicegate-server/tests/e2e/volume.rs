//! Limits that count the bytes of bodies: charged to the byte for what has passed, however it ends, and not for what was turned
//! away.
use crate::upgrade::{ASK, Service};
use crate::{fields, serve, serve_url, spawn_get, until_idle};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use sluicegate_testkit::body::{Script, Step};
use sluicegate_testkit::client::{Answer, Http2, Raw, get, request};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::{now, until, within};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// What there is of each limit.
const ALL: u64 = 10_000_000;
const NAMES: [&str; 3] = ["global/request-bytes", "global/response-bytes", "global/bytes"];
const LIMITS: [&str; 6] = [
    "--limit",
    "global request-bytes stock 10MB",
    "--limit",
    "global response-bytes stock 10MB",
    "--limit",
    "global bytes stock 10MB",
];

/// What was used of each before this request, which has taken the first byte for itself.
fn used_before(answer: &Answer) -> [u64; 3] {
    let left = fields::remaining(answer);
    NAMES.map(|name| ALL - 1 - left[name])
}

/// What is used of each. The question itself uses nothing.
async fn used(gateway: &Sluicegate) -> [u64; 3] {
    used_before(&gateway.client().send(request(Method::HEAD, "/bytes/1000", Script::empty())).await)
}

/// A request's body, and what of it and of the answer's passes.
async fn passed(answer: &Answer, up: u64, sum: &mut [u64; 3]) {
    let down = answer.body.len() as u64;
    *sum = [sum[0] + up, sum[1] + down, sum[2] + up + down];
}

#[tokio::test]
async fn what_passes_is_charged_to_the_byte() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &LIMITS).await;
    let client = gateway.client();
    let two = Http2::connect(client).await;
    let mut sum = [0; 3];
    let policy = client.get("/bytes/0").await.header("ratelimit-policy").unwrap().to_owned();
    assert!(policy.contains(r#""global/bytes";q=10000000;qu="content-bytes""#), "{policy}");
    for (target, up) in [
        ("/bytes/1", None),
        ("/bytes/0", None),
        ("/bytes/65536", None),
        ("/bytes/300000", None),
        ("/chunked/70001", None),
        ("/trailers/5", None),
        ("/sink", Some((1, false))),
        ("/sink", Some((200_000, false))),
        ("/sink", Some((65_537, true))),
        ("/mirror", Some((150_000, true))),
    ] {
        let ask = || match up {
            None => get(target),
            Some((up, false)) => request(Method::PUT, target, Script::pattern(up)),
            Some((up, true)) => request(Method::PUT, target, Script::pattern(up).chunked()),
        };
        let up = up.map_or(0, |(up, _)| up);
        for answer in [client.send(ask()).await, two.answer(ask()).await] {
            assert_eq!((answer.status, used_before(&answer)), (OK, sum), "{target}");
            passed(&answer, up, &mut sum).await;
        }
    }
    assert_eq!(used(&gateway).await, sum);
    assert_eq!(gateway.metrics().await.count("sluicegate_limit_keys", &[("limit", NAMES[2])]), 1);
}

#[tokio::test]
async fn who_owes_is_refused_until_it_is_paid_and_told_when_that_is() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "client.ip response-bytes 1000/s"]).await;
    let client = gateway.client();
    let answer = client.get("/bytes/3000").await;
    assert_eq!((answer.status, answer.body.len()), (OK, 3000), "larger than all there is");
    let refused = client.get("/bytes/1").await;
    let arrived = now();
    assert_eq!(refused.status, TOO_MANY);
    let problem = refused.problem();
    assert!(problem.detail.starts_with("Too much was sent or received."), "{problem:?}");
    assert!(refused.text().contains(r#""violated-policies":["client.ip/response-bytes"]"#), "{refused:?}");
    let wait = Duration::from_secs(refused.retry_after().unwrap());
    assert!(wait <= Duration::from_secs(3), "2000 and one at 1000 a second: {wait:?}");
    assert_eq!(client.from(Ipv4Addr::new(127, 0, 0, 2)).get("/bytes/1").await.status, OK, "owes nothing");
    until(arrived + wait).await;
    assert_eq!(client.get("/bytes/1").await.status, OK, "a retry at the announced instant passes");
}

/// Whatever is large: it is refused before anything of it has passed.
#[tokio::test]
async fn who_owes_sends_nothing_more() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global request-bytes stock 100"]).await;
    let send = async |len| gateway.client().send(request(Method::PUT, "/sink", Script::pattern(len))).await;
    assert_eq!(send(99).await.status, OK);
    assert_eq!(send(5000).await.status, OK, "there was one left");
    let refused = send(1).await;
    assert_eq!((refused.status, refused.retry_after()), (TOO_MANY, None), "a stock is never refilled");
    assert_eq!(gateway.client().get("/").await.status, TOO_MANY, "nor may it ask for anything");
    assert_eq!(upstream.counters().sunk, 5099);
}

#[tokio::test]
async fn what_breaks_off_costs_what_has_passed() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &LIMITS).await;
    // Down: the client is gone after half of it.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /stall/50000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_head().await;
    client.read_exact(50_000).await;
    client.vanish();
    until_idle(&gateway).await;
    assert_eq!(used(&gateway).await, [0, 50_000, 50_000]);

    let two = Http2::connect(gateway.client()).await;
    let mut body = two.send(get("/stall/20000")).await.unwrap().into_body();
    let mut came = 0;
    while came < 20_000 {
        came += within("more of it", body.frame()).await.unwrap().unwrap().data_ref().unwrap().len();
    }
    drop(body);
    until_idle(&gateway).await;
    assert_eq!(used(&gateway).await, [0, 70_000, 70_000]);

    // The upstream is.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /die/3000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_to_end().await;
    until_idle(&gateway).await;
    assert_eq!(used(&gateway).await, [0, 73_000, 73_000]);

    // Up.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("PUT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await;
    client.write(vec![b'x'; 30_000]).await;
    upstream.until("a part of it", |seen| seen.sunk == 30_000).await;
    client.vanish();
    until_idle(&gateway).await;
    assert_eq!(used(&gateway).await, [30_000, 73_000, 103_000]);
}

#[tokio::test]
async fn who_is_turned_away_or_reaches_no_service_pays_nothing() {
    let mut upstream = Upstream::start();
    let mut args = vec!["--concurrency", "1", "--queue", "0"];
    args.extend(LIMITS);
    let gateway = serve(&upstream, &args).await;
    let held = spawn_get(gateway.client(), "/gated/1");
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    let refused = gateway.client().send(request(Method::PUT, "/sink", Script::pattern(5000))).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    upstream.open_all();
    let mut sum = [0; 3];
    passed(&held.await.unwrap(), 0, &mut sum).await;
    until_idle(&gateway).await;
    assert_eq!(used(&gateway).await, sum);
    upstream.stop().await;
    let failed = gateway.client().send(request(Method::PUT, "/sink", Script::pattern(5000))).await;
    assert_eq!((failed.status, used_before(&failed)), (StatusCode::BAD_GATEWAY, sum));
    upstream.start_again();
    assert_eq!(used(&gateway).await, sum);
}

/// A body that is on its way for long is charged meanwhile, not at its end.
#[tokio::test]
async fn what_passes_is_charged_while_it_does() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "client.ip bytes stock 1MB"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /stall/2000000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_head().await;
    client.read_exact(2_000_000).await;
    assert_eq!(gateway.client().get("/bytes/1").await.status, TOO_MANY);
    let body = Script::steps([Step::Pattern(10)]);
    assert_eq!(gateway.client().send(request(Method::PUT, "/sink", body)).await.status, TOO_MANY);
    upstream.resume();
    client.read_exact(2_000_000).await;
}

#[tokio::test]
async fn a_connection_that_changes_protocols_counts_too() {
    let mut service = Service::start().await;
    let args = ["--limit", "global request-bytes stock 100", "--limit", "global response-bytes stock 100"];
    let gateway = serve_url(&service.url(), &args).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(format!("{ASK}\r\nearly")).await;
    let mut served = service.connection().await;
    crate::upgrade::read_until(&mut served, "\r\n\r\n").await;
    served.write_all(format!("{}at once", crate::upgrade::SWITCH).as_bytes()).await.unwrap();
    client.read_head().await;
    client.read_exact(7).await;
    crate::upgrade::read_until(&mut served, "early").await;
    client.write("and more").await;
    crate::upgrade::read_until(&mut served, "and more").await;
    client.finish().await;
    assert_eq!(within("the end", served.read(&mut [0; 9])).await.unwrap(), 0);
    drop(served);
    client.read_to_end().await;
    until_idle(&gateway).await;
    let refused = Raw::connect(gateway.addr());
    let mut next = refused.await;
    next.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut served = service.connection().await;
    served.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let head = next.read_head().await;
    assert!(head.contains(r#""global/request-bytes";r=86, "global/response-bytes";r=92"#), "{head}");
}
