//! Limits that count bytes, in a store: charged while bodies pass, and to the byte once they have.
use super::{redis, serve};
use crate::{SLUICEGATE, fields};
use http::{Method, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Raw, request};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
const ALL: u64 = 10_000_000;
const UNCHARGED: &str = "sluicegate_store_uncharged_keys";

/// What is used once all is charged. The question itself uses nothing, but has taken the first byte for itself.
async fn used(gateway: &Sluicegate) -> [u64; 2] {
    crate::until_idle(gateway).await;
    gateway.until_metric(UNCHARGED, &[], 0).await;
    let answer = gateway.client().send(request(Method::HEAD, "/bytes/1000", Script::empty())).await;
    let left = fields::remaining(&answer);
    ["global/request-bytes", "global/response-bytes"].map(|name| ALL - 1 - left[name])
}

#[tokio::test]
async fn what_passes_is_charged_to_the_byte_and_shared() {
    let (upstream, redis) = (Upstream::start(), redis());
    let limits =
        ["--limit", "global request-bytes stock 10MB", "--limit", "global response-bytes 10MB every 1000h"];
    let gateways =
        [serve(&upstream, &redis.url(), &limits).await, serve(&upstream, &redis.url(), &limits).await];
    assert_eq!(gateways[0].client().get("/bytes/300001").await.body.len(), 300_001);
    assert_eq!(used(&gateways[0]).await, [0, 300_001]);
    let sent = request(Method::PUT, "/sink", Script::pattern(200_000));
    let answer = gateways[1].client().send(sent).await;
    assert_eq!(answer.status, OK);
    let down = 300_001 + answer.body.len() as u64;
    used(&gateways[0]).await;
    used(&gateways[1]).await;
    assert_eq!(used(&gateways[0]).await, [200_000, down]);
    // Half of an answer whose client is gone.
    let mut client = Raw::connect(gateways[0].addr()).await;
    client.write("GET /stall/50000 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.read_head().await;
    client.read_exact(50_000).await;
    client.vanish();
    assert_eq!(used(&gateways[0]).await, [200_000, down + 50_000]);
}

#[tokio::test]
async fn who_owes_is_refused_wherever_it_comes() {
    for limit in ["client.ip response-bytes stock 1000", "client.ip response-bytes 1000/h"] {
        let (upstream, redis) = (Upstream::start(), redis());
        let limits = ["--limit", limit];
        let gateways =
            [serve(&upstream, &redis.url(), &limits).await, serve(&upstream, &redis.url(), &limits).await];
        let answer = gateways[0].client().get("/bytes/3000").await;
        assert_eq!((answer.status, answer.body.len()), (OK, 3000), "larger than all there is");
        crate::until_idle(&gateways[0]).await;
        gateways[0].until_metric(UNCHARGED, &[], 0).await;
        let refused = gateways[1].client().get("/bytes/1").await;
        assert_eq!(refused.status, TOO_MANY);
        match refused.retry_after() {
            None => assert!(limit.contains("stock")),
            Some(wait) => assert!((7100..=7204).contains(&wait), "2000 and one at 1000 an hour: {wait}"),
        }
    }
}

/// What is noted when the gateway is told to end is charged before it does.
#[tokio::test]
async fn at_the_end_all_is_charged() {
    let (upstream, folder) = (Upstream::start(), crate::programs::Folder::new());
    let store = format!("disk:{}", folder.path("quotas.redb"));
    let limits = ["--limit", "client.ip response-bytes stock 10000"];
    let mut gateway = serve(&upstream, &store, &limits).await;
    assert_eq!(gateway.client().get("/bytes/9000").await.status, OK);
    gateway.signal("TERM").await;
    assert!(gateway.wait().await.success());
    let args = ["serve", "--upstream", &upstream.url(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let gateway = Sluicegate::start(SLUICEGATE, &[&args[..], &["--store", &store], &limits].concat()).await;
    let left = fields::remaining(&gateway.client().get("/bytes/1").await);
    assert_eq!(left["client.ip/response-bytes"], 999);
}
