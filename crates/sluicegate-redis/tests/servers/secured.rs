//! By TLS, with access lists: what the guide says that a user needs is enough, and a slot that moves is followed.

use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::{PATIENCE, within};

use crate::cluster::{self, Moved};
use crate::server::{self, Server, prefix};

const SECONDS: std::time::Duration = std::time::Duration::from_secs(9);

/// All that a store can do, as its user.
async fn all_that_it_does(settings: Settings) {
    let settings = settings.prefix(&prefix()).expect("a prefix").timeout(PATIENCE).connect_timeout(PATIENCE);
    let [store, other] = [(); 2].map(|()| Redis::open(settings.clone().look_again(10 * PATIENCE)));
    let (hour, stock): (Quota, Quota) =
        ("10/h initial 5".parse().expect("a quota"), "stock 1 max 9".parse().expect("a quota"));
    let (one, two) = (Charge::new("s", b"a", &hour), Charge::new("s", b"b", &stock));
    store.ping().await.expect("the right to");
    assert!(store.take(&[one, two]).await.expect("the right to").is_granted());
    assert!(!store.take(&[one, two]).await.expect("the right to").is_granted());
    let watching = store.watch(two.of(2));
    let putting = async {
        // It may be put before it is watched.
        other.put(two).await.expect("the right to");
        other.put(two).await.expect("the right to")
    };
    let (watched, _) = within("a put that is told of", async { tokio::join!(watching, putting) }).await;
    assert_eq!(watched.expect("the right to").remaining(), 2);
    let booked = store.reserve(&[one, two], SECONDS).await.expect("the right to").reserved();
    booked.expect("there are enough").settle(&[2, 0]).await.expect("the right to");
    assert_eq!(store.take_up_to(one.of(9)).await.expect("the right to"), 2);
    store.reset("s", b"a").await.expect("the right to");
    assert_eq!(store.beat("g", b"i", SECONDS).await.expect("the right to"), 1);
    assert_eq!(store.beat("g", b"i", std::time::Duration::ZERO).await.expect("the right to"), 0);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn the_rights_that_the_guide_tells_are_enough() {
    all_that_it_does(server::encrypted().settings()).await;
    server::encrypted().refused_nothing();
}

#[tokio::test]
async fn the_rights_that_the_guide_tells_are_enough_in_a_cluster() {
    all_that_it_does(cluster::encrypted().settings()).await;
    cluster::encrypted().nodes.iter().for_each(Server::refused_nothing);
}

/// Asked of the old node, which says where the key went, or the slot; both are by TLS too.
#[test]
fn a_slot_that_moves_is_followed() {
    let cluster = cluster::Cluster::start_encrypted();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let settings = cluster.settings().prefix("test").expect("a prefix");
    let store = runtime.block_on(async { Redis::open(settings.timeout(PATIENCE).connect_timeout(PATIENCE)) });
    let hour = "10/h".parse().expect("a quota");
    let mut left = 10;
    let mut take = || {
        let verdict = runtime.block_on(store.take(&[Charge::new("s", b"k", &hour)])).expect("an answer");
        left -= 1;
        assert_eq!(verdict.decision.remaining(), left);
    };
    take();
    let mut steps = Vec::new();
    for _ in 0..2 {
        cluster.move_slot("test:{1:k}s", |moved| {
            steps.push(moved);
            take();
        });
    }
    assert_eq!(steps[..3], [Moved::Begun, Moved::Key, Moved::Slot]);
    take();
    runtime.block_on(store.close());
    cluster.nodes.iter().for_each(Server::refused_nothing);
}
