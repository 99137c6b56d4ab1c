//! Listeners and the admin side that come, go and move.
use super::{Configured, listening, until_closed};
use crate::spawn_get;
use http::StatusCode;
use sluicegate_testkit::client::{Client, Http2, Raw};
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;

const OK: StatusCode = StatusCode::OK;

async fn until_open(addr: std::net::SocketAddr) -> Client {
    let client = Client::new(addr);
    eventually("somebody to listen", async || client.connect().await.ok()).await;
    client
}

#[tokio::test]
async fn one_that_comes_serves_and_one_that_goes_finishes_what_it_has() {
    let upstream = Upstream::start();
    let ports = [Reserved::new(), Reserved::new()];
    let [first, second] = [0, 1].map(|n| ports[n].addr());
    let both = format!("[[listener]]\naddress = \"{second}\"\n");
    let with = |address: std::net::SocketAddr, generation, more: &str| {
        listening(&address.to_string(), &upstream, generation, more)
    };
    let served = Configured::serve(&with(first, 1, "")).await;
    let stays = Http2::connect(Client::new(first)).await;
    served.change_to(&with(first, 2, &both), 2).await;
    let on_second = until_open(second).await;
    assert_eq!(on_second.get("/").await.status, OK);
    assert_eq!(stays.get("/").await.status, OK, "it is the same listener as before");

    // The first one goes, with what is in flight there.
    let in_flight = [spawn_get(Client::new(first), "/gated/1"), {
        let stays = stays.clone();
        tokio::spawn(async move { stays.get("/gated/2").await })
    }];
    upstream.until("two at the gate", |seen| seen.in_flight == 2).await;
    let mut idle = Raw::connect(first).await;
    idle.write("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    idle.read_head().await;
    served.change_to(&with(second, 3, ""), 3).await;
    until_closed(first).await;
    idle.read_to_end().await;
    assert_eq!(on_second.get("/").await.status, OK);
    upstream.open_all();
    for answer in in_flight {
        assert_eq!(answer.await.unwrap().status, OK, "what was in flight is finished");
    }
    stays.ended().await;
    assert_eq!(upstream.counters().aborted, 0);

    // It may come back, and the process ends as ever.
    served.change_to(&with(second, 4, &both.replace(&second.to_string(), &first.to_string())), 4).await;
    assert_eq!(until_open(first).await.get("/").await.status, OK);
    let mut gateway = served.gateway;
    gateway.signal("TERM").await;
    assert_eq!(gateway.wait().await.code(), Some(0), "{}", gateway.log());
}

#[tokio::test]
async fn the_admin_side_moves() {
    let upstream = Upstream::start();
    let port = Reserved::new();
    let config = |admin: &str, generation| {
        let text = listening("127.0.0.1:0", &upstream, generation, "");
        text.replacen("127.0.0.1:0", admin, 1)
    };
    let served = Configured::serve(&config("127.0.0.1:0", 1)).await;
    let before = served.gateway.admin_addr();
    served.change(&config(&port.addr().to_string(), 2)).await;
    let admin = until_open(port.addr()).await;
    assert_eq!(admin.get("/readyz").await.status, OK);
    assert!(admin.get("/metrics").await.text().contains("generation-2"));
    until_closed(before).await;
    assert_eq!(served.gateway.client().get("/").await.status, OK);
}

#[tokio::test]
async fn an_address_in_use_refuses_the_whole_change() {
    let upstream = Upstream::start();
    let (port, free) = (Reserved::new(), Reserved::new());
    let taken = upstream.addr();
    let address = port.addr().to_string();
    let limited = |quota: &str, more: &str| {
        let limit = format!("[limit.few]\nkey = \"client.ip\"\nquota = \"{quota}\"\n");
        format!("{limit}{more}\n[[route]]\nlimits = [\"few\"]\n")
    };
    let served = Configured::serve(&listening(&address, &upstream, 1, &limited("stock 2", ""))).await;
    let client = served.gateway.client();
    assert_eq!(client.get("/").await.status, OK);
    // A new listener that could be had, one that can't, and another quota.
    let more = format!("[[listener]]\naddress = \"{}\"\n[[listener]]\naddress = \"{taken}\"\n", free.addr());
    served.change(&listening(&address, &upstream, 2, &limited("stock 50", &more))).await;
    served.until_refused(1, &["can't listen on", &taken.to_string()]).await;
    Client::new(free.addr()).connect().await.expect_err("nothing of it holds");
    let last = client.get("/").await;
    assert_eq!((last.status, crate::fields::remaining(&last)["few"]), (OK, 0));
    assert!(last.header("ratelimit-policy").unwrap().contains("q=2"), "{last:?}");
    assert_eq!(client.get("/").await.status, StatusCode::TOO_MANY_REQUESTS);

    // The same of the admin side.
    let admin = listening(&address, &upstream, 3, &limited("stock 50", ""));
    served.change(&admin.replacen("127.0.0.1:0", &taken.to_string(), 1)).await;
    served.until_refused(2, &["can't listen on"]).await;
    assert_eq!(client.get("/").await.status, StatusCode::TOO_MANY_REQUESTS);
    served.change_to(&listening(&address, &upstream, 4, ""), 4).await;
    assert_eq!(client.get("/").await.status, OK);
}
