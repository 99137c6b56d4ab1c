//! The HTTP server, over real sockets.

use std::net::{Ipv4Addr, SocketAddr};

use http::StatusCode;
use sluicegate::memory::Memory;
use sluicegate::outage::{self, Policy};
use sluicegate::store::{Charge, Store};
use sluicegate_disk::Disk;
use sluicegate_testkit::client::{Answer, Client};
use sluicegate_testkit::redis_server::Server as Redis;
use sluicegate_testkit::wait::{PATIENCE, eventually, within};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::limited_server::{Failed, Settings, serve};
use crate::redis::settings;

/// Three, and the next only in twenty minutes: no test takes that long.
const QUOTA: &str = "3/h";

/// A server that runs.
struct Server {
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failed>>,
}

impl Server {
    async fn start(store: impl Store + 'static, policy: Policy, is_leased: bool) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let client = Client::new(listener.local_addr().unwrap());
        let outage = outage::Settings::new(policy).with_timeout(PATIENCE);
        let settings = Settings { quota: QUOTA.parse().unwrap(), outage, is_leased };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or(()) };
        Self { client, stop, task: tokio::spawn(serve(store, settings, listener, stopped)) }
    }

    /// The answer to a client at this address.
    async fn ask(&self, last: u8) -> Answer {
        self.client.from(Ipv4Addr::new(127, 0, 0, last)).get("/").await
    }

    /// Stops it, and waits until it has.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        within("the server to stop", self.task).await.unwrap().unwrap();
    }
}

/// Two clients, each of which may ask three times.
async fn limits_each_client(server: &Server) {
    for client in [2, 3] {
        for left in ["2", "1", "0"] {
            let answer = server.ask(client).await;
            assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "hello\n"));
            assert_eq!(answer.headers["ratelimit-policy"], "\"client\";q=3;w=3600");
            let standing = answer.headers["ratelimit"].to_str().unwrap();
            assert!(standing.starts_with(&format!("\"client\";r={left};t=")), "{standing}");
        }
        let refused = server.ask(client).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert!(refused.text().contains(r#""violated-policies":["client"]"#), "{}", refused.text());
    }
}

#[tokio::test]
async fn in_memory() {
    for is_leased in [false, true] {
        let server = Server::start(Memory::new(), Policy::Closed, is_leased).await;
        limits_each_client(&server).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn in_a_file_which_another_server_finds_as_it_was_left() {
    let file = crate::file();
    let disk = Disk::open(&file).unwrap();
    let server = Server::start(disk.clone(), Policy::Closed, false).await;
    limits_each_client(&server).await;
    server.stop().await;
    disk.close().unwrap();

    let disk = Disk::open(&file).unwrap();
    let server = Server::start(disk.clone(), Policy::Closed, false).await;
    assert_eq!(server.ask(2).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.ask(4).await.status, StatusCode::OK);
    server.stop().await;
    disk.close().unwrap();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn in_redis_where_two_servers_allow_as_much_as_one() {
    let redis = Redis::start(&[]);
    let stores = [0, 1].map(|_| sluicegate_redis::Redis::open(settings(&redis)));
    let one = Server::start(stores[0].clone(), Policy::Closed, false).await;
    let two = Server::start(stores[1].clone(), Policy::Closed, false).await;
    limits_each_client(&one).await;
    assert_eq!(two.ask(2).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(two.ask(4).await.headers["ratelimit"].to_str().unwrap().split(';').nth(1), Some("r=2"));
    assert_eq!(one.ask(4).await.headers["ratelimit"].to_str().unwrap().split(';').nth(1), Some("r=1"));
    one.stop().await;
    two.stop().await;
    for store in stores {
        store.close().await;
        assert_eq!(store.lost(), 0);
    }
}

#[tokio::test]
async fn what_is_leased_goes_back_when_it_stops() {
    let redis = Redis::start(&[]);
    let store = sluicegate_redis::Redis::open(settings(&redis));
    let server = Server::start(store.clone(), Policy::Closed, true).await;
    for _ in 0..2 {
        assert_eq!(server.ask(2).await.status, StatusCode::OK);
    }
    server.stop().await;
    let quota = QUOTA.parse().unwrap();
    let left = store.peek(&[Charge::new("client", &[127, 0, 0, 2], &quota)]).await.unwrap();
    assert_eq!(left.decision.remaining(), 1);
    store.close().await;
}

#[tokio::test]
async fn while_redis_is_away_its_policy_answers_and_then_redis_again() {
    for (policy, status) in
        [(Policy::Open, StatusCode::OK), (Policy::Closed, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let mut redis = Redis::start(&[]);
        let store = sluicegate_redis::Redis::open(settings(&redis));
        let server = Server::start(store.clone(), policy, false).await;
        limits_each_client(&server).await;
        redis.kill();
        let answer = server.ask(2).await;
        assert_eq!(answer.status, status, "{policy}");
        assert_eq!(answer.headers.contains_key("retry-after"), policy == Policy::Closed);

        // It has forgotten everything meanwhile; so the first answer that is its own says that two are left.
        redis.restart();
        eventually("Redis to be asked again", async || {
            let answer = server.ask(4).await;
            let standing = answer.headers.get("ratelimit").and_then(|standing| standing.to_str().ok());
            standing.is_some_and(|standing| standing.starts_with("\"client\";r=2;")).then_some(())
        })
        .await;
        server.stop().await;
        store.close().await;
    }
}
