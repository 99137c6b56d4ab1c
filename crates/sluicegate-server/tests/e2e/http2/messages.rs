//! What is passed on of a request in HTTP/2, and of its answer.
use super::{OK, connect};
use crate::{get_with, serve, until_idle};
use http::{HeaderMap, Method, StatusCode};
use sluicegate_testkit::body::{Checker, Script, Step};
use sluicegate_testkit::client::request;
use sluicegate_testkit::upstream::{Echo, Sunk, Upstream};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn bodies_go_both_ways_at_once_on_several_streams() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let link = connect(&gateway).await;
    let mut asked = JoinSet::new();
    for n in 1..=4 {
        let link = link.clone();
        asked.spawn(async move {
            let len = n * MIB + 1;
            let answer = link.answer(request(Method::POST, "/mirror", Script::pattern(len))).await;
            let mut checker = Checker::new();
            checker.take(&answer.body);
            assert_eq!((answer.status, checker.len(), checker.intact()), (OK, len, true));
            let sunk: Sunk = link.answer(request(Method::PUT, "/sink", Script::pattern(len))).await.json();
            assert_eq!(sunk, Sunk { len, intact: true });
        });
    }
    asked.join_all().await;
    assert_eq!(upstream.counters().aborted, 0);
    gateway.until_metric("sluicegate_connections_accepted_total", &[], 1).await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let link = connect(&gateway).await;
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "4".parse().unwrap())]);
    let body = Script::steps([Step::Bytes("abcd".into()), Step::Trailers(trailers)]);
    let mut up = request(Method::POST, "/echo", body);
    up.headers_mut().insert("trailer", "x-sum".parse().unwrap());
    let echo: Echo = link.answer(up).await.json();
    assert_eq!((echo.body.as_str(), &echo.trailers[..]), ("abcd", &[("x-sum".into(), "4".into())][..]));

    let down = link.answer(get_with("/trailers/10", "te", "trailers")).await;
    assert_eq!((down.body.len(), &down.trailers.expect("trailers")["x-sum"]), (10, &"10".parse().unwrap()));
}

#[tokio::test]
async fn a_service_of_http_1_sees_an_ordinary_request() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let link = connect(&gateway).await;
    let mut crumbs = get_with("http://example.test:8080/a?b=c", "cookie", "a=1");
    crumbs.headers_mut().append("cookie", "b=2".parse().unwrap());
    crumbs.headers_mut().append("cookie", "c=3".parse().unwrap());
    let answer = link.answer(crumbs).await;
    let echo: Echo = answer.json();
    assert_eq!((echo.method.as_str(), echo.target.as_str()), ("GET", "/a?b=c"));
    assert_eq!(echo.version, "HTTP/1.1");
    assert_eq!(echo.header("host"), ["example.test:8080"]);
    assert_eq!(echo.header("x-forwarded-host"), ["example.test:8080"]);
    assert_eq!(echo.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echo.header("x-forwarded-proto"), ["http"]);
    assert_eq!(echo.header("cookie"), ["a=1; b=2; c=3"], "pieces are put together again");
    assert_eq!(echo.header("via"), ["2 sluicegate"]);
    assert_eq!(answer.header("via"), Some("1.1 sluicegate"), "what came from the service was HTTP/1.1");

    let head = link.answer(request(Method::HEAD, "/bytes/1000", Script::empty())).await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("1000"), 0));
    let hop = link.get("/hop").await;
    for name in ["connection", "keep-alive", "proxy-connection", "x-private", "x-more-private"] {
        assert_eq!(hop.header(name), None, "{name} is for one connection of HTTP/1");
    }
    assert_eq!((hop.status, hop.header("x-public")), (OK, Some("1")));
    assert_eq!(link.get("/status/204").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_could_be_read_two_ways_is_refused_and_the_connection_goes_on() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global stock 1"]).await;
    let link = connect(&gateway).await;
    let other = link.answer(get_with("http://a.test/", "host", "b.test")).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST, "one authority, another host");
    other.problem();
    let tunnel = link.answer(request(Method::CONNECT, "a.test:80", Script::empty())).await;
    assert_eq!(tunnel.status, StatusCode::NOT_IMPLEMENTED);
    tunnel.problem();
    assert_eq!(upstream.counters().total, 0);
    assert_eq!(
        link.answer(get_with("http://a.test/", "host", "a.test")).await.status,
        OK,
        "nothing was spent"
    );
    gateway.until_metric("sluicegate_refusals_total", &[("reason", "bad_request")], 2).await;
}
