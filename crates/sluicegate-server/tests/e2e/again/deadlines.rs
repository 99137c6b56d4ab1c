//! Deadlines that come with a request, and go on with it.
use super::serve_all;
use crate::reload::{Configured, config};
use crate::{get_with, serve};
use http::StatusCode;
use sluicegate_testkit::client::get;
use sluicegate_testkit::upstream::{Echo, Upstream};

const LATE: StatusCode = StatusCode::GATEWAY_TIMEOUT;

#[tokio::test]
async fn a_client_shortens_its_deadline_and_never_lengthens_it() {
    let upstream = Upstream::start();
    let args = ["--deadline-header", "X-Timeout-Ms"];
    let gateway = serve_all(&[&upstream.url()], &args).await;
    // With the 60 s of its route, it would be waited for longer than a test waits.
    assert_eq!(gateway.client().send(get_with("/gated", "x-timeout-ms", "200")).await.status, LATE);
    upstream.until("it to be given up", |seen| seen.aborted == 1).await;
    let before = upstream.counters().total;
    assert_eq!(gateway.client().send(get_with("/", "x-timeout-ms", "0")).await.status, LATE);
    assert_eq!(upstream.counters().total, before, "it is not even begun");
    for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
        let answer = gateway.client().send(get_with("/", "x-timeout-ms", nonsense)).await;
        assert_eq!(answer.status, StatusCode::OK, "{nonsense}");
    }
    let short = serve(&upstream, &["--deadline-header", "x-timeout-ms", "--deadline", "200ms"]).await;
    assert_eq!(short.client().send(get_with("/gated", "x-timeout-ms", "3600000")).await.status, LATE);
    let deaf = serve_all(&[&upstream.url()], &[]).await;
    assert_eq!(deaf.client().send(get_with("/", "x-timeout-ms", "0")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_upstream_is_told_what_is_left() {
    let upstream = Upstream::start();
    for more in [&["--retry"][..], &[]] {
        let fields = ["--deadline-header", "x-timeout-ms", "--upstream-deadline-header", "x-left-ms"];
        let gateway = serve_all(&[&upstream.url()], &[&fields, more].concat()).await;
        let left = async |request| {
            let echo: Echo = gateway.client().send(request).await.json();
            let told = echo.header("x-left-ms");
            assert_eq!(told.len(), 1, "{echo:?}");
            told[0].parse::<u64>().unwrap()
        };
        let own = left(get("/")).await;
        // Ten milliseconds are for the way back.
        assert!((30_000..=59_990).contains(&own), "{own}");
        let asked = left(get_with("/", "x-timeout-ms", "20000")).await;
        assert!((1..=19_990).contains(&asked), "{asked}");
        let invented = left(get_with("/", "x-left-ms", "1")).await;
        assert!(invented > 1, "what a client says in that field is not passed on");
    }
}

#[tokio::test]
async fn where_the_way_back_takes_all_that_is_left_somebody_nearer_is_asked() {
    let (near, far) = (Upstream::start(), Upstream::start());
    let with = |generation, route: &str| {
        let more = format!(
            "[upstream.far]\nurl = \"{}\"\ndeadline-header = \"x-left-ms\"\ndeadline-reserve = \"50s\"\n\
             [[route]]\nname = \"all\"\ndeadline = \"60s\"\n{route}\n",
            far.url()
        );
        format!("deadline-header = \"x-timeout-ms\"\n{}", config(&near, generation, &more))
    };
    let served = Configured::serve(&with(1, "upstreams = [\"far\", \"main\"]")).await;
    let client = served.gateway.client();
    for _ in 0..12 {
        let answer = client.send(get_with("/", "x-timeout-ms", "20000")).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!((near.counters().total, far.counters().total), (12, 0));
    for (generation, route) in
        [(2, "upstream = \"far\""), (3, "upstream = \"far\"\nretry = { attempts = 2 }")]
    {
        served.change_to(&with(generation, route), generation).await;
        assert_eq!(client.send(get_with("/", "x-timeout-ms", "20000")).await.status, LATE);
        served.gateway.until_log(&["the upstream's deadline-reserve leaves it no time"]).await;
        assert_eq!(client.get("/").await.status, StatusCode::OK);
    }
}
