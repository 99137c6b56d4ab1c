//! Everything that goes wrong, while four processes hammer one key, one of them with a clock that is an hour ahead: in no span
//! t are more than C + q·t/I granted, and service is back soon after. Figures are printed.

mod clients;

use std::time::Duration;

use sluicegate::store::{Charge, Store};
use sluicegate_redis::Redis;
use sluicegate_testkit::wait;

use crate::cluster::{Cluster, Moved, ask, text};
use crate::hammer::{Hammer, now};
use crate::proxy::Proxy;
use crate::server::{Server, eventually};

const QUOTA: &str = "100/s burst 20";

/// C of it.
const CAPACITY: u64 = 20;

#[test]
fn a_server_that_is_killed_and_forgets_nothing() {
    let mut server = Server::start(&["appendonly yes", "appendfsync always"]);
    let hammer = Hammer::start(&server.url(), "lim", QUOTA);
    for _ in 0..3 {
        hammer.go_on(60);
        server.kill();
        let away = now();
        hammer.failed_after(away, "reached");
        server.restart();
        hammer.back("killed, with appendfsync always");
    }
    hammer.go_on(60);
    assert_eq!(hammer.over("killed, with appendfsync always"), 0);
}

/// What it has forgotten can be granted again: at the most a full bucket each time.
#[test]
fn a_server_that_is_killed_and_forgets_everything() {
    for (lines, what) in [
        (&[][..], "killed three times, with nothing kept"),
        (&["appendonly yes", "appendfsync everysec"], "killed three times, with appendfsync everysec"),
    ] {
        let mut server = Server::start(lines);
        let hammer = Hammer::start(&server.url(), "lim", QUOTA);
        for _ in 0..3 {
            hammer.go_on(60);
            server.kill();
            server.restart();
            hammer.back(what);
        }
        hammer.go_on(60);
        assert!(hammer.over(what) <= 3 * CAPACITY);
    }
}

#[test]
fn a_server_that_freezes() {
    let server = Server::start(&[]);
    let hammer = Hammer::start(&server.url(), "lim", QUOTA);
    for _ in 0..2 {
        hammer.go_on(60);
        let frozen = now();
        server.freeze(true);
        hammer.failed_after(frozen, "not answered within 250ms");
        hammer.failed_after(frozen, "not asked for a moment");
        server.freeze(false);
        hammer.back("frozen");
    }
    hammer.go_on(60);
    assert_eq!(hammer.over("frozen"), 0);
}

#[test]
fn a_network_that_is_cut_and_one_that_is_slow() {
    let server = Server::start(&[]);
    let proxy = Proxy::to(server.port);
    let hammer = Hammer::start(&format!("redis://127.0.0.1:{}", proxy.port), "lim", QUOTA);
    hammer.go_on(60);
    let cut = now();
    proxy.cut(true);
    hammer.failed_after(cut, "not answered within 250ms");
    hammer.failed_after(cut, "not asked for a moment");
    proxy.cut(false);
    hammer.back("a network that was cut");
    hammer.go_on(60);
    proxy.delay(Duration::from_millis(40));
    hammer.go_on(60);
    proxy.delay(Duration::from_millis(400));
    hammer.failed_after(now(), "not answered within 250ms");
    proxy.delay(Duration::ZERO);
    hammer.back("a network that was slow");
    assert_eq!(hammer.over("cut and slow"), 0);
}

#[test]
fn a_script_that_is_forgotten() {
    let server = Server::start(&[]);
    let hammer = Hammer::start(&server.url(), "lim", QUOTA);
    let mut direct = server.connect();
    for _ in 0..20 {
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut direct).expect("a server");
        hammer.granted_after(now());
    }
    assert_eq!(hammer.over("scripts flushed"), 0);
}

#[test]
fn memory_that_is_full() {
    let server = Server::start(&["maxmemory-policy noeviction"]);
    let hammer = Hammer::start(&server.url(), "lim", QUOTA);
    let mut direct = server.connect();
    hammer.go_on(60);
    let limit = |direct: &mut redis::Connection, bytes: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec(direct).expect("a server");
    };
    let full = now();
    limit(&mut direct, "1");
    hammer.failed_after(full, "memory is full");
    limit(&mut direct, "0");
    hammer.back("memory full");
    hammer.go_on(60);
    assert_eq!(hammer.over("memory full"), 0);
}

const NAME: &str = "lim:{3:key}hot";

/// One that is asked for loses nothing; one after a master is killed may lose what was not replicated yet.
#[test]
fn a_replica_that_takes_over() {
    let mut cluster = Cluster::start();
    let hammer = Hammer::start(&cluster.url(), "lim", QUOTA);
    hammer.go_on(60);
    let (_, _, replica, _) = cluster.roles(NAME);
    ask(&mut cluster.nodes[replica].connect(), "FAILOVER");
    eventually("the replica to take over", || (cluster.roles(NAME).1 == replica).then_some(()));
    hammer.back("a fail-over that was asked for");
    hammer.go_on(60);
    assert_eq!(hammer.over("a fail-over that was asked for"), 0);

    let hammer = Hammer::start(&cluster.url(), "lim", QUOTA);
    hammer.go_on(60);
    cluster.nodes[replica].kill();
    let heir = eventually("another to take over", || {
        let master = cluster.roles(NAME).1;
        (master != replica).then_some(master)
    });
    hammer.back("a fail-over after a kill");
    assert_ne!(heir, replica);
    hammer.go_on(60);
    assert!(hammer.over("a fail-over after a kill") <= CAPACITY);
}

/// The master is not gone, it only says nothing.
#[test]
fn a_master_that_freezes() {
    let cluster = Cluster::start();
    let hammer = Hammer::start(&cluster.url(), "lim", QUOTA);
    hammer.go_on(60);
    let (_, master, _, other) = cluster.roles(NAME);
    cluster.nodes[master].freeze(true);
    let mut direct = cluster.nodes[other].connect();
    let port = format!(":{}@", cluster.nodes[master].port);
    eventually("another to take over", || {
        let nodes = text(ask(&mut direct, "NODES"));
        nodes
            .lines()
            .any(|line| {
                line.contains(&port)
                    && line.contains("fail")
                    && !line.contains("fail?")
                    && line.split(' ').count() == 8
            })
            .then_some(())
    });
    hammer.back("a frozen master");
    cluster.nodes[master].freeze(false);
    hammer.go_on(60);
    assert!(hammer.over("a frozen master") <= CAPACITY);
}

#[test]
fn a_slot_that_moves() {
    let cluster = Cluster::start();
    let hammer = Hammer::start(&cluster.url(), "lim", QUOTA);
    for _ in 0..3 {
        hammer.go_on(30);
        cluster.move_slot(NAME, |moved| match moved {
            Moved::Begun => drop(hammer.granted_after(now())),
            // The slot is the old node's, the key is the new one's.
            Moved::Key => hammer.back("a key that has moved"),
            Moved::Slot => hammer.back("a slot that has moved"),
        });
    }
    assert_eq!(hammer.over("a slot that moves"), 0);
}

/// A master and its replica are gone for good: what the others have is served, to who comes anew too; the rest is an error in time.
#[tokio::test]
async fn what_is_left_of_a_cluster() {
    let mut cluster = Cluster::start();
    let (_, master, replica, other) = cluster.roles(NAME);
    let is_there = |cluster: &Cluster, key: &u64| {
        cluster.roles(&format!("lim:{{{}:{key}}}hot", key.to_string().len())).1 == other
    };
    let key = (1_u64..).find(|key| is_there(&cluster, key)).expect("a third of them are").to_string();
    cluster.nodes[master].kill();
    cluster.nodes[replica].kill();
    let store = Redis::open(cluster.settings().prefix("lim").expect("a prefix"));
    let quota = QUOTA.parse().expect("a quota");
    let _ = wait::eventually("a key elsewhere", async || {
        store.take(&[Charge::new("hot", key.as_bytes(), &quota)]).await.ok()
    })
    .await;
    let mut served = 0;
    for _ in 0..20 {
        let (gone, elsewhere) =
            ([Charge::new("hot", b"key", &quota)], [Charge::new("hot", key.as_bytes(), &quota)]);
        let (gone, elsewhere) = tokio::join!(store.take(&gone), store.take(&elsewhere));
        assert!(gone.expect_err("nobody has this slot").is_outage());
        served += u32::from(elsewhere.is_ok());
    }
    assert!(served >= 15, "one slot that is gone is in the way of others: {served} of 20");
    store.close().await;
}
