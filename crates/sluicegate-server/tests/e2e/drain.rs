//! SIGTERM: no accepted request is lost, nothing new comes in, and the process ends by itself.
use crate::{serve, spawn_get};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Client, Raw, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinSet;

const OK: StatusCode = StatusCode::OK;

/// Sends SIGTERM and waits until the gateway takes no connection any more.
async fn terminate(gateway: &Sluicegate) {
    gateway.signal("TERM").await;
    eventually("new connections to be refused", async || {
        let refused = gateway.client().connect().await.err()?;
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        Some(())
    })
    .await;
}

async fn assert_exits(mut gateway: Sluicegate, code: i32) {
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(code), "{status}\n{}", gateway.log());
}

#[tokio::test]
async fn what_is_in_flight_or_waiting_is_answered() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "8", "--queue", "100", "--deadline", "60s", "--grace", "60s"];
    let gateway = serve(&upstream, &args).await;
    let mut links = Vec::new();
    for _ in 0..28 {
        links.push(gateway.client().link().await.unwrap());
    }
    let mut asked = JoinSet::new();
    for mut link in links {
        asked.spawn(async move { Answer::read(link.send(get("/gated")).await.unwrap()).await.unwrap() });
    }
    upstream.until("eight at the gate", |seen| seen.in_flight == 8).await;
    gateway.until_metric("sluicegate_queue_waiting", &[], 20).await;

    assert_eq!(gateway.admin().get("/readyz").await.status, OK);
    terminate(&gateway).await;
    assert_eq!(gateway.admin().get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(gateway.admin().get("/healthz").await.status, OK, "alive while it drains");
    upstream.open_all();
    for answer in asked.join_all().await {
        assert_eq!(answer.status, OK);
        assert_eq!(answer.header("connection"), Some("close"), "the client is told not to come back here");
    }
    assert_exits(gateway, 0).await;
    let seen = upstream.counters();
    assert_eq!((seen.total, seen.finished, seen.aborted), (28, 28, 0));
}

/// Their handshake was finished by the kernel, so their clients take them for accepted.
#[tokio::test]
async fn who_connected_before_the_signal_is_served() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--grace", "60s", "--deadline", "60s"]).await;
    // A process that stands still accepts nobody, and finds the signal and all of them when it goes on.
    gateway.signal("STOP").await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write("GET /bytes/5 HTTP/1.1\r\nhost: a\r\n\r\n").await;
        clients.push(client);
    }
    gateway.signal("TERM").await;
    gateway.signal("CONT").await;
    for client in &mut clients {
        assert!(client.read_head().await.starts_with("HTTP/1.1 200 "));
        let (body, _) = client.read_to_end().await;
        assert_eq!(body.len(), 5);
    }
    assert_exits(gateway, 0).await;
    let seen = upstream.counters();
    assert_eq!((seen.total, seen.aborted), (100, 0));
}

#[tokio::test]
async fn bodies_on_their_way_arrive_whole() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--grace", "60s", "--deadline", "60s"]).await;
    let mut down = Raw::connect(gateway.addr()).await;
    down.write("GET /stall/1000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    down.read_head().await;
    let mut up = Raw::connect(gateway.addr()).await;
    up.write("PUT /sink HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await;
    upstream.until("half an upload", |seen| seen.sunk == 3).await;
    terminate(&gateway).await;
    upstream.resume();
    down.read_exact(2000).await;
    up.write("def").await;
    assert!(up.read_head().await.starts_with("HTTP/1.1 200 "));
    assert_exits(gateway, 0).await;
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_hold_it_up() {
    let upstream = Upstream::start();
    // The exit code would be 1 if the grace time ran out.
    let args = ["--grace", "5s", "--header-timeout", "10m", "--idle-timeout", "10m"];
    let gateway = serve(&upstream, &args).await;
    let mut idle = Raw::connect(gateway.addr()).await;
    idle.write("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.read_head().await;
    let silent = Raw::connect(gateway.addr()).await;
    gateway.until_metric("sluicegate_connections_open", &[], 2).await;
    gateway.signal("TERM").await;
    assert_exits(gateway, 0).await;
    drop((idle, silent));
}

#[tokio::test]
async fn a_grace_time_that_runs_out_cuts_the_rest() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--grace", "500ms", "--deadline", "60s"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write("GET /gated HTTP/1.1\r\nhost: a\r\n\r\n").await;
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    gateway.signal("TERM").await;
    assert_exits(gateway, 1).await;
    let (answer, _) = client.read_to_end().await;
    assert!(!answer.starts_with(b"HTTP/1.1 200 "));
    upstream.until("the request to be given up", |seen| seen.aborted == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_request_that_got_through_is_answered() {
    let upstream = Upstream::start();
    let args = ["--concurrency", "4", "--queue", "100", "--deadline", "60s", "--grace", "60s"];
    let gateway = serve(&upstream, &args).await;
    let draining = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let (client, draining, answered) = (gateway.client(), Arc::clone(&draining), Arc::clone(&answered));
        clients.spawn(async move {
            let mut served = 0;
            while let Some(answer) = ask(client).await {
                assert_eq!((answer.status, answer.body.len()), (OK, 10_000));
                served += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            assert!(draining.load(Ordering::SeqCst), "turned away before SIGTERM");
            served
        });
    }
    eventually("some load", async || (answered.load(Ordering::Relaxed) > 200).then_some(())).await;
    draining.store(true, Ordering::SeqCst);
    gateway.signal("TERM").await;
    let served: usize = clients.join_all().await.into_iter().sum();
    assert_exits(gateway, 0).await;
    let seen = upstream.counters();
    assert_eq!((seen.total, seen.finished, seen.aborted), (served, served, 0));
}

/// One request; none if the gateway was gone before it answered. A connection that the kernel took when the
/// gateway was about to stop listening is reset unseen, which is no loss as long as the upstream saw nothing
/// of it either; an answer once begun must be whole.
async fn ask(client: Client) -> Option<Answer> {
    let response = client.link().await.ok()?.send(get("/bytes/10000")).await.ok()?;
    Some(Answer::read(response).await.expect("a begun answer is whole"))
}

#[tokio::test]
async fn a_gateway_without_work_ends_at_once() {
    let upstream = Upstream::start();
    for signal in ["TERM", "INT"] {
        let gateway = serve(&upstream, &["--grace", "60s"]).await;
        assert_eq!(spawn_get(gateway.client(), "/").await.unwrap().status, OK);
        gateway.signal(signal).await;
        assert_exits(gateway, 0).await;
    }
}
