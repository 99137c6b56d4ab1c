//! A Cluster of three masters, each with a replica or, by TLS, without.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands, Value};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::{PATIENCE, within};

use crate::server::{ADMIN, Server, USER, eventually, prefix};

/// Its nodes: three masters, and the replica of each if they have any.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

const MASTERS: usize = 3;

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::of((0..2 * MASTERS).map(|_| Server::start(&Self::LINES)).collect())
    }

    /// One that speaks TLS only, also among its nodes, and has a user with the rights that the guide tells.
    pub(crate) fn start_encrypted() -> Self {
        let lines = [&Self::LINES[..], &["tls-cluster yes", "tls-replication yes"]].concat();
        let guide = include_str!("../../guide/on_a_cluster.md");
        let mut nodes = vec![Server::start_encrypted(&lines, guide, None)];
        while nodes.len() < MASTERS {
            nodes.push(Server::start_encrypted(&lines, guide, nodes.first()));
        }
        Self::of(nodes)
    }

    const LINES: [&str; 7] = [
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        "cluster-node-timeout 1000",
        "cluster-replica-validity-factor 0",
        "cluster-require-full-coverage no",
        "cluster-port BUS",
        "repl-diskless-sync-delay 0",
    ];

    fn of(nodes: Vec<Server>) -> Self {
        let cluster = Self { nodes };
        let mut direct: Vec<redis::Connection> = cluster.nodes.iter().map(Server::connect).collect();
        for (place, slots) in [(0, 5460), (5461, 10922), (10923, 16383)].iter().enumerate() {
            ask(&mut direct[place], &format!("ADDSLOTSRANGE {} {}", slots.0, slots.1));
            ask(&mut direct[place], &format!("SET-CONFIG-EPOCH {}", place + 1));
        }
        for node in &cluster.nodes[1..] {
            ask(&mut direct[0], &format!("MEET 127.0.0.1 {} {}", node.port, node.bus));
        }
        let ids: Vec<String> = direct.iter_mut().map(|node| text(ask(node, "MYID"))).collect();
        let all = ids.len();
        for place in MASTERS..all {
            let master = &ids[place - MASTERS];
            let knows = |node: &mut redis::Connection| {
                let nodes = text(ask(node, "NODES"));
                let met = nodes.lines().filter(|line| !line.contains("handshake")).count();
                (met == all && nodes.contains(master)).then_some(())
            };
            eventually("a Cluster's nodes to know each other", || knows(&mut direct[place]));
            ask(&mut direct[place], &format!("REPLICATE {master}"));
        }
        cluster.wait(&mut direct);
        cluster
    }

    /// Waits until all slots are served, and each master has its replica.
    fn wait(&self, direct: &mut [redis::Connection]) {
        for (place, node) in direct.iter_mut().enumerate() {
            eventually("a Cluster that works", || {
                text(ask(node, "INFO")).contains("cluster_state:ok").then_some(())
            });
            if place >= MASTERS {
                eventually("a replica", || {
                    let info: String = redis::cmd("INFO").arg("replication").query(node).ok()?;
                    info.contains("master_link_status:up").then_some(())
                });
            }
            eventually("replicas to be known", || {
                let slots: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query(node).ok()?;
                let parts = 2 + self.nodes.len() / MASTERS;
                (slots.len() == MASTERS && slots.iter().all(|slot| slot.len() == parts)).then_some(())
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let (nodes, is_encrypted) = (nodes.join(","), self.nodes[0].certificates().is_some());
        if is_encrypted {
            format!("rediss+cluster://{USER}@{nodes}")
        } else {
            format!("redis+cluster://{nodes}")
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        self.nodes[0].with_certificates(Settings::new(&self.url()).expect("addresses"))
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> ClusterConnection {
        let mut client = ClusterClient::builder(self.nodes.iter().map(|node| node.own_url()));
        if let Some(certificates) = self.nodes[0].certificates() {
            client = client.certs(certificates);
        }
        let client = client.build().expect("addresses");
        eventually("a Cluster that answers", || client.get_connection().ok())
    }

    /// The places of the master of a key, of its replica, and of another master, by what they are now.
    pub(crate) fn roles(&self, name: &str) -> (u16, usize, usize, usize) {
        eventually("somebody to serve a slot", || self.roles_now(name))
    }

    /// The same; none while nobody serves its slot, as between two masters.
    fn roles_now(&self, name: &str) -> Option<(u16, usize, usize, usize)> {
        let mut some = self.nodes.iter().find_map(|node| node.client().get_connection().ok());
        let some = some.as_mut().expect("a node that answers");
        let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(name).query(some).expect("a slot");
        let slots: Vec<(u16, u16, (String, u16), Value)> = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query(some)
            .map(|slots: Vec<Vec<Value>>| {
                slots
                    .into_iter()
                    .map(|mut slot| {
                        let replica = slot.get(3).cloned().unwrap_or(Value::Nil);
                        let master = redis::from_redis_value::<(String, u16, String, Value)>(slot.remove(2))
                            .expect("a node");
                        let number =
                            |value: &Value| redis::from_redis_value::<u16>(value.clone()).expect("a slot");
                        (number(&slot[0]), number(&slot[1]), (master.0, master.1), replica)
                    })
                    .collect()
            })
            .expect("slots");
        let place = |port: u16| self.nodes.iter().position(|node| node.port == port).expect("a node of ours");
        let mine = slots.iter().find(|(first, last, ..)| (*first..=*last).contains(&slot))?;
        let other = slots.iter().find(|other| other.2 != mine.2).expect("another");
        let replica = match &mine.3 {
            Value::Nil => usize::MAX,
            value => {
                let node: (String, u16, String, Value) =
                    redis::from_redis_value(value.clone()).expect("a node");
                place(node.1)
            }
        };
        Some((slot, place(mine.2.1), replica, place(other.2.1)))
    }
}

/// How far a slot has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Begun,
    Key,
    Slot,
}

impl Cluster {
    /// Moves a key's slot with it to another master, step by step.
    pub(crate) fn move_slot(&self, name: &str, mut after: impl FnMut(Moved)) {
        let (slot, from, _, to) = self.roles(name);
        let mut nodes: Vec<redis::Connection> = self.nodes.iter().map(Server::connect).collect();
        let id = |nodes: &mut Vec<redis::Connection>, place: usize| text(ask(&mut nodes[place], "MYID"));
        let (old, new) = (id(&mut nodes, from), id(&mut nodes, to));
        ask(&mut nodes[to], &format!("SETSLOT {slot} IMPORTING {old}"));
        ask(&mut nodes[from], &format!("SETSLOT {slot} MIGRATING {new}"));
        after(Moved::Begun);
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.nodes[to].port).arg(&["", "0", "5000"]);
        if self.nodes[to].certificates().is_some() {
            let (user, password) = ADMIN.split_once(':').expect("a user and a password");
            migrate.arg(&["AUTH2", user, password]);
        }
        migrate.arg(&["KEYS", name]).exec(&mut nodes[from]).expect("a key that moves");
        after(Moved::Key);
        for place in [to, from] {
            ask(&mut nodes[place], &format!("SETSLOT {slot} NODE {new}"));
        }
        after(Moved::Slot);
        eventually("all to know", || (self.roles(name).1 == to).then_some(()));
    }
}

/// Asks a node something of its Cluster.
pub(crate) fn ask(node: &mut redis::Connection, what: &str) -> Value {
    let words: Vec<&str> = what.split(' ').collect();
    redis::cmd("CLUSTER").arg(&words).query(node).unwrap_or_else(|error| panic!("CLUSTER {what}: {error}"))
}

pub(crate) fn text(value: Value) -> String {
    redis::from_redis_value(value).expect("text")
}

/// One for all tests that do it no harm.
pub(crate) fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// The same by TLS.
pub(crate) fn encrypted() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start_encrypted)
}

fn stores(settings: &Settings) -> [Redis; 2] {
    [(); 2].map(|()| Redis::open(settings.clone().timeout(PATIENCE).connect_timeout(PATIENCE)))
}

/// Spread over slots, or all in one.
#[tokio::test]
async fn names_are_in_the_slots_they_say() {
    let settings = shared().settings();
    let (spread, one) = (prefix(), prefix());
    let stores = [
        Redis::open(settings.clone().prefix(&spread).expect("a prefix").timeout(PATIENCE)),
        Redis::open(settings.prefix(&one).and_then(|it| it.one_slot("t")).expect("a tag").timeout(PATIENCE)),
    ];
    let quota = "10/h".parse().expect("a quota");
    let keys: Vec<[u8; 1]> = (b'a'..=b'p').map(|key| [key]).collect();
    let charges: Vec<Charge<'_>> = keys.iter().map(|key| Charge::new("s", key, &quota)).collect();
    for store in &stores {
        assert!(store.take(&charges).await.expect("an answer").is_granted());
        assert_eq!(store.take(&charges).await.expect("an answer").decision.remaining(), 8);
    }
    let mut direct = shared().connect();
    for key in &keys {
        let key = char::from(key[0]);
        for name in [format!("{spread}:{{1:{key}}}s"), format!("{one}:{{t}}1:{key}:s")] {
            assert!(direct.exists::<_, bool>(&name).expect("an answer"), "{name}");
        }
    }
    for store in stores {
        store.close().await;
    }
}

/// What one slot grants and another refuses goes back.
#[tokio::test]
async fn slots_are_all_or_nothing_together() {
    let [store, other] = stores(&shared().settings().prefix(&prefix()).expect("a prefix"));
    let (many, none) = ("stock 100".parse().expect("a quota"), "ban".parse().expect("a quota"));
    let keys: Vec<[u8; 1]> = (b'a'..=b'h').map(|key| [key]).collect();
    let mut charges: Vec<Charge<'_>> = keys.iter().map(|key| Charge::new("s", key, &many)).collect();
    charges.push(Charge::new("s", b"i", &none));
    for _ in 0..20 {
        let refused = store.take(&charges).await.expect("an answer");
        assert!(refused.decision.is_never());
        assert!(
            refused.each[..8].iter().all(|one| one.is_granted() && one.remaining() == 100),
            "{refused:?}"
        );
    }
    // From both at once, in both orders: never more than there are, and charged to all or to none.
    charges.pop();
    let few = "stock 30".parse().expect("a quota");
    charges.push(Charge::new("s", b"z", &few));
    let backwards: Vec<Charge<'_>> = charges.iter().rev().copied().collect();
    let mut granted = 0;
    for _ in 0..40 {
        let (one, two) = tokio::join!(store.take(&charges), other.take(&backwards));
        for verdict in [one, two] {
            granted += u64::from(verdict.expect("an answer").is_granted());
        }
    }
    store.ping().await.expect("an answer");
    other.ping().await.expect("an answer");
    for charge in &charges {
        let left = store.peek(&[charge.of(0)]).await.expect("an answer").decision.remaining();
        assert_eq!(left, charge.quota.capacity() - granted);
    }
    assert_eq!(granted, 30);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_put_elsewhere_wakes_who_watches_here() {
    let settings = shared().settings().prefix(&prefix()).expect("a prefix");
    let [here, there] = stores(&settings.look_again(std::time::Duration::from_secs(3600)));
    let stock = "stock 1 max 9".parse().expect("a quota");
    for key in [b"a", b"b", b"c", b"d"] {
        let charge = Charge::new("s", key, &stock);
        let watching = here.watch(charge.of(3));
        let putting = async {
            // It may be put before it is watched.
            there.put(charge.of(1)).await.expect("an answer");
            there.put(charge.of(1)).await.expect("an answer")
        };
        let (watched, _) = within("a watch", async { tokio::join!(watching, putting) }).await;
        assert_eq!(watched.expect("an answer").remaining(), 3);
    }
    here.close().await;
    there.close().await;
}

/// A process that ends between the two phases leaves tokens taken, and mints none: here its runtime is gone at once, with all that
/// was under way.
#[test]
fn a_crash_between_the_phases_mints_nothing() {
    const TASKS: u64 = 8;
    let settings = shared().settings().timeout(PATIENCE).connect_timeout(PATIENCE);
    let (many, few): (Quota, Quota) =
        ("stock 10000".parse().expect("a quota"), "stock 50".parse().expect("a quota"));
    for round in 0..10 {
        let settings = settings.clone().prefix(&prefix()).expect("a prefix");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (granted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let store = runtime.block_on(async { Redis::open(settings.clone()) });
        for _ in 0..TASKS {
            let (store, granted, refused) = (store.clone(), Arc::clone(&granted), Arc::clone(&refused));
            runtime.spawn(async move {
                let charges = [
                    Charge::new("s", b"a", &many),
                    Charge::new("s", b"b", &many),
                    Charge::new("s", b"c", &few),
                ];
                loop {
                    let verdict = store.take(&charges).await.expect("an answer");
                    let count = if verdict.is_granted() { &granted } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // While it grants, or while it refunds.
        let (count, enough) = if round % 2 == 0 { (&granted, 20 + round) } else { (&refused, 20 + round) };
        eventually("some decisions", || (count.load(Ordering::Relaxed) > enough).then_some(()));
        runtime.shutdown_timeout(std::time::Duration::ZERO);
        let granted = granted.load(Ordering::Relaxed);
        drop(store);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let store = Redis::open(settings);
            for (key, quota) in [(b"a", &many), (b"b", &many), (b"c", &few)] {
                let left = store.peek(&[Charge::new("s", key, quota).of(0)]).await.expect("an answer");
                let gone = quota.capacity() - left.decision.remaining();
                assert!(
                    (granted..=granted + 2 * TASKS).contains(&gone),
                    "{gone} are gone, {granted} were granted"
                );
            }
            store.close().await;
        });
    }
}
