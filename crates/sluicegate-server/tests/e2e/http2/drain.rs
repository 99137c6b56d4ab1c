//! SIGTERM, to connections of HTTP/2.
use super::{OK, connect, spawn_get};
use crate::serve;
use sluicegate_testkit::client::frames::{Frames, flag, kind};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

async fn assert_exits(mut gateway: Sluicegate, code: i32) {
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(code), "{status}\n{}", gateway.log());
}

#[tokio::test]
async fn what_is_in_flight_is_answered_after_a_goaway() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "1", "--queue", "1", "--deadline", "60s", "--grace", "60s"];
    let gateway = serve(&upstream, &args).await;
    let mut client = Frames::connect(gateway.addr()).await;
    client.get(1, "/gated", &[]).await.unwrap();
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    client.get(3, "/gated", &[]).await.unwrap();
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    gateway.signal("TERM").await;
    let goaway = client.until(|frame| frame.kind == kind::GOAWAY || frame.kind == kind::HEADERS).await;
    assert_eq!((goaway.kind, goaway.code()), (kind::GOAWAY, Some(0)), "{goaway:?}");
    upstream.open_all();
    for _ in 0..2 {
        client.until(|frame| frame.stream != 0 && frame.flags & flag::END_STREAM != 0).await;
    }
    while client.next().await.is_some() {}
    assert_exits(gateway, 0).await;
    assert_eq!((upstream.counters().finished, upstream.counters().aborted), (2, 0));
}

#[tokio::test]
async fn who_has_nothing_in_flight_does_not_hold_it_up() {
    let upstream = Upstream::start();
    // The exit code would be 1 if the grace time ran out.
    let args = ["--grace", "20s", "--header-timeout", "10m", "--idle-timeout", "10m"];
    let gateway = serve(&upstream, &args).await;
    let idle = connect(&gateway).await;
    assert_eq!(idle.get("/").await.status, OK);
    // This one answers nothing any more, as if its host were asleep.
    let mut asleep = Frames::connect(gateway.addr()).await;
    asleep.get(1, "/", &[]).await.unwrap();
    asleep.until(|frame| frame.stream == 1 && frame.flags & flag::END_STREAM != 0).await;
    gateway.signal("TERM").await;
    idle.ended().await;
    assert_exits(gateway, 0).await;
}

#[tokio::test]
async fn a_grace_time_that_runs_out_cuts_the_rest() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--grace", "500ms", "--deadline", "60s"]).await;
    let link = connect(&gateway).await;
    let cut = {
        let link = link.clone();
        tokio::spawn(async move { link.send(sluicegate_testkit::client::get("/gated")).await })
    };
    let whole = spawn_get(&link, "/");
    assert_eq!(whole.await.unwrap().status, OK);
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    gateway.signal("TERM").await;
    assert_exits(gateway, 1).await;
    assert!(cut.await.unwrap().is_err());
    upstream.until("it to be given up", |seen| seen.aborted == 1).await;
}
