//! What every refusal tells, whatever its reason, and that it gives back what it took.
use crate::{fields, serve, spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::{Answer, Raw};
use sluicegate_testkit::upstream::Upstream;

/// Ten at once, and none more while a test runs.
const TEN: &str = "global 1 every 10m burst 10";
/// Far more than the sockets between a client and a gateway that doesn't read hold.
const MUCH: usize = 1_000_000;

/// The answer tells the policy, and that so many are left.
#[track_caller]
fn assert_left(answer: &Answer, left: u64) {
    let policies = fields::items(answer, "ratelimit-policy");
    let told = (policies.get("global").map(|policy| policy["q"]), fields::remaining(answer));
    assert_eq!(
        told,
        (Some(10), [("global".to_owned(), left)].into()),
        "{}: {}",
        answer.status,
        answer.text()
    );
}

#[tokio::test]
async fn one_by_the_full_queue_has_its_token_back_and_says_so() {
    for reject in ["503", "529"] {
        let upstream = Upstream::start();
        let args = ["--limit", TEN, "--concurrency", "1", "--queue", "1", "--deadline", "60s"];
        let gateway = serve(&upstream, &[&args[..], &["--reject-status", reject]].concat()).await;
        let served = spawn_get(gateway.client(), "/gated");
        upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
        let waiting = spawn_get(gateway.client(), "/gated");
        gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
        for _ in 0..20 {
            let refused = gateway.client().get("/").await;
            assert_eq!(refused.status.as_str(), reject);
            // One was spent, and one is held by who waits.
            assert_left(&refused, 8);
        }
        upstream.open_all();
        assert_left(&served.await.unwrap(), 9);
        assert_left(&waiting.await.unwrap(), 8);
        assert_left(&gateway.client().get("/").await, 7);
        until_idle(&gateway).await;
    }
}

#[tokio::test]
async fn one_by_its_deadline_in_the_queue_has_its_token_back_and_says_so() {
    let upstream = Upstream::start();
    let args = ["--deadline", "1s", "--concurrency", "1", "--queue", "5", "--body-stall-timeout", "10m"];
    let gateway = serve(&upstream, &[&args[..], &["--limit", TEN]].concat()).await;
    // Its head is in time, and its body holds the only slot.
    let mut holder = Raw::connect(gateway.addr()).await;
    holder.write("GET /stall/10 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(holder.read_head().await.starts_with("HTTP/1.1 200 "));
    for _ in 0..3 {
        let refused = gateway.client().get("/").await;
        assert_eq!(refused.status, StatusCode::GATEWAY_TIMEOUT);
        assert_left(&refused, 9);
    }
    upstream.resume();
    holder.read_exact(20).await;
    until_idle(&gateway).await;
    assert_left(&gateway.client().get("/").await, 8);
    assert_eq!(upstream.targets(), ["/stall/10", "/"]);
}

#[tokio::test]
async fn one_by_an_upstream_that_was_asked_has_used_its_token_and_says_so() {
    // One that takes too long, and one that isn't there.
    let slow = Upstream::start();
    let gateway = serve(&slow, &["--limit", TEN, "--deadline", "200ms"]).await;
    for left in [9, 8] {
        let refused = gateway.client().get("/gated").await;
        assert_eq!(refused.status, StatusCode::GATEWAY_TIMEOUT);
        assert_left(&refused, left);
    }
    let gone = Upstream::stopped();
    let gateway = serve(&gone, &["--limit", TEN]).await;
    for left in [9, 8] {
        let refused = gateway.client().get("/").await;
        assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
        assert_left(&refused, left);
    }
}

/// A socket that is closed while something unread is in it resets the connection, and takes an answer that is still
/// on its way along. Clients that send first and read then must not lose their refusal.
#[tokio::test]
async fn one_of_an_upload_that_nobody_reads_arrives_whole() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global ban"]).await;
    let chunk = format!("{MUCH:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(MUCH));
    let framings = [
        (format!("content-length: {MUCH}"), "a".repeat(MUCH)),
        ("transfer-encoding: chunked".to_owned(), chunk),
    ];
    for (round, (framing, body)) in framings.iter().cycle().take(40).enumerate() {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("POST /sink HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n")).await;
        let sent = client.try_write(body).await;
        assert!(sent.is_ok(), "round {round}: {sent:?} with {framing}");
        let head = client.read_head().await.to_lowercase();
        assert!(head.starts_with("http/1.1 429 "), "round {round}: {head}");
        let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.lines().next());
        let problem = client.read_exact(length.expect("a length").parse().unwrap()).await;
        assert!(problem.starts_with('{') && problem.ends_with('}'), "round {round}: {problem}");
    }
    assert_eq!(upstream.counters().total, 0);
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}
