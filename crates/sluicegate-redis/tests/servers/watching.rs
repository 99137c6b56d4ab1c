//! Who watches is woken, and does not ask all the time; and what comes together is asked together.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluicegate::store::{Charge, Store, StoreError, Verdict};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::{PATIENCE, eventually, within};

use crate::server::{Server, prefix, shared};

const NEVER: Duration = Duration::from_secs(3600);

/// Two stores of the same buckets, which look again so often.
fn two(url: &str, look_again: Duration) -> [Redis; 2] {
    let prefix = prefix();
    [(); 2].map(|()| {
        let settings = Settings::new(url).and_then(|settings| settings.prefix(&prefix)).expect("an address");
        Redis::open(settings.timeout(PATIENCE).connect_timeout(PATIENCE).look_again(look_again))
    })
}

/// How often a command was called.
fn calls(server: &Server, command: &str) -> u64 {
    let mut direct = server.connect();
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut direct).expect("a server");
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Starts to watch, and waits until it does.
async fn watching(store: &Redis, server: &Server, n: u64) -> tokio::task::JoinHandle<u64> {
    // The server knows the script by then, so that one look is one call.
    let stock = "stock 1 max 9".parse().expect("a quota");
    let _ = store.peek(&[Charge::new("s", b"k", &stock)]).await.expect("an answer");
    let (store, before) = (store.clone(), calls(server, "evalsha"));
    let watching = tokio::spawn(async move {
        let stock = "stock 1 max 9".parse().expect("a quota");
        let decision = store.watch(Charge::new("s", b"k", &stock).of(n)).await.expect("an answer");
        assert!(decision.is_granted());
        decision.remaining()
    });
    eventually("its look", async || (calls(server, "evalsha") > before).then_some(())).await;
    watching
}

#[tokio::test]
async fn a_put_elsewhere_wakes_who_watches_here() {
    let server = Server::start(&[]);
    let [here, there] = two(&server.url(), NEVER);
    let stock = "stock 1 max 9".parse().expect("a quota");
    let woken = watching(&here, &server, 3).await;
    let also = watching(&here, &server, 2).await;
    let asked = calls(&server, "evalsha");
    for _ in 0..20 {
        here.ping().await.expect("an answer");
    }
    assert_eq!(calls(&server, "evalsha"), asked, "who watches asks nothing meanwhile");
    there.put(Charge::new("s", b"k", &stock).of(2)).await.expect("an answer");
    assert_eq!(within("a watch", woken).await.expect("a watch that ends"), 3);
    within("the other", also).await.expect("a watch that ends");
    eventually("nobody to listen any more", async || {
        let channels: Vec<String> =
            redis::cmd("PUBSUB").arg("CHANNELS").query(&mut server.connect()).expect("a server");
        channels.is_empty().then_some(())
    })
    .await;
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_listened_to_again() {
    let server = Server::start(&[]);
    let [here, there] = two(&server.url(), NEVER);
    let stock = "stock 1 max 9".parse().expect("a quota");
    let woken = watching(&here, &server, 2).await;
    let asked = calls(&server, "evalsha");
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut server.connect()).expect("a server");
    eventually("another look", async || (calls(&server, "evalsha") > asked).then_some(())).await;
    there.put(Charge::new("s", b"k", &stock)).await.expect("an answer");
    within("a watch", woken).await.expect("a watch that ends");
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn what_is_not_heard_is_seen() {
    let server = Server::start(&[]);
    let mut direct = server.connect();
    let rights = ["SETUSER", "deaf", "on", ">pass", "~*", "resetchannels", "+@all"];
    redis::cmd("ACL").arg(&rights).exec(&mut direct).expect("a server");
    let [here, there] =
        two(&format!("redis://deaf:pass@127.0.0.1:{}", server.port), Duration::from_millis(50));
    let stock = "stock 1 max 9".parse().expect("a quota");
    let woken = watching(&here, &server, 2).await;
    assert_eq!(there.put(Charge::new("s", b"k", &stock)).await.expect("who may not publish may put"), 1);
    within("a watch", woken).await.expect("a watch that ends");
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn time_wakes_who_watches() {
    let [here, there] = two(&shared().url(), NEVER);
    let quota = "5/s burst 1".parse().expect("a quota");
    let charge = Charge::new("s", b"k", &quota);
    assert!(there.take(&[charge]).await.expect("an answer").is_granted());
    let decision = within("the instant", here.watch(charge)).await.expect("an answer");
    assert!(decision.is_granted());
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn what_comes_together_is_asked_together_and_what_comes_alone_at_once() {
    let server = Server::start(&[]);
    let [store, other] = two(&server.url(), NEVER);
    let stock = "stock 700".parse().expect("a quota");
    let charge = Charge::new("s", b"k", &stock);
    for _ in 0..10 {
        assert!(store.take(&[charge]).await.expect("an answer").is_granted());
    }
    assert_eq!(calls(&server, "evalsha"), 10, "nobody waits for company");
    let charges = [charge];
    let granted = futures_util::future::join_all((0..1000).map(|_| store.take(&charges))).await;
    let granted =
        granted.into_iter().filter(|verdict| verdict.as_ref().expect("an answer").is_granted()).count();
    assert_eq!(granted, 690);
    let calls = calls(&server, "evalsha") - 10;
    assert!(calls <= 17, "a thousand in calls of at most 64: {calls}");
    store.close().await;
    assert!(store.take(&[charge]).await.is_err(), "closed");
    other.close().await;
}

/// A store that is frozen keeps so many waiting, and no more.
#[tokio::test]
async fn who_would_have_to_wait_too_long_is_told_at_once() {
    let server = Server::start(&[]);
    let settings = server.settings().timeout(PATIENCE).connect_timeout(PATIENCE).max_waiting(10);
    let store = Redis::open(settings);
    let stock = "stock 700".parse().expect("a quota");
    let charges = [Charge::new("s", b"k", &stock)];
    store.ping().await.expect("an answer");
    server.freeze(true);
    let mut asked: Vec<_> = (0..100).map(|_| Box::pin(store.take(&charges))).collect();
    let refused = |result: &Result<Verdict, StoreError>| {
        let error = result.as_ref().expect_err("no room").to_string();
        assert!(error.contains("10 requests wait for it already"), "{error}");
    };
    let mut ended = 0;
    asked.retain_mut(|one| match one.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => {
            refused(&result);
            ended += 1;
            false
        }
        Poll::Pending => true,
    });
    assert!((80..=90).contains(&ended), "{ended} of a hundred are told at once");
    server.freeze(false);
    for one in asked {
        assert!(one.await.expect("an answer").is_granted());
    }
    store.close().await;
}
