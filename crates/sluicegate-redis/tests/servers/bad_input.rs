//! What can't be right is refused with a clear error, and changes nothing.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::Value;
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store, StoreError};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::PATIENCE;
use tokio::io::AsyncWriteExt;

use crate::server::{Server, prefix, shared};

const SCRIPT: &str = concat!(
    include_str!("../../src/script/clock.lua"),
    include_str!("../../src/script/arithmetic.lua"),
    include_str!("../../src/script/buckets.lua")
);

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

/// A store with a prefix, which is told.
fn store(url: &str) -> (Redis, String) {
    let prefix = prefix();
    let settings = Settings::new(url).and_then(|settings| settings.prefix(&prefix)).expect("an address");
    (Redis::open(settings.timeout(PATIENCE).connect_timeout(PATIENCE)), prefix)
}

#[tokio::test]
async fn what_is_not_a_bucket_is_named_and_left_as_it_is() {
    let (store, prefix) = store(&shared().url());
    let mut direct = shared().connect();
    let ten = quota("10/h");
    let good = Charge::new("s", b"good", &ten);
    let (text, near) = (&b"hello"[..], &b"\xa3sg2\x01\x02"[..]);
    for (key, value) in [("list", None), ("text", Some(text)), ("near", Some(near))] {
        let name = format!("{prefix}:{{{}:{key}}}s", key.len());
        match value {
            None => redis::cmd("RPUSH").arg(&name).arg("a").arg("b").exec(&mut direct).expect("a server"),
            Some(value) => redis::cmd("SET").arg(&name).arg(value).exec(&mut direct).expect("a server"),
        }
        let before: Value = redis::cmd("DUMP").arg(&name).query(&mut direct).expect("a server");
        let bad = Charge::new("s", key.as_bytes(), &ten);
        for error in [
            store.take(&[good, bad]).await.expect_err("no bucket"),
            store.put(bad).await.expect_err("no bucket"),
            store.reset("s", key.as_bytes()).await.expect_err("no bucket"),
        ] {
            let StoreError::Foreign { name: named, .. } = &error else { panic!("{error}") };
            assert_eq!(*named, name, "{error}");
            assert!(!error.is_outage());
        }
        let after: Value = redis::cmd("DUMP").arg(&name).query(&mut direct).expect("a server");
        assert_eq!(before, after);
    }
    // Asked together with those that are wrong, by others, a good one is answered.
    let bad = Charge::new("s", b"list", &ten);
    let (granted, refused) =
        (store.take(std::slice::from_ref(&good)), store.take(std::slice::from_ref(&bad)));
    let (granted, refused) = tokio::join!(granted, refused);
    assert_eq!(
        granted.expect("an answer").decision.remaining(),
        9,
        "nothing was taken with those that failed"
    );
    assert!(refused.is_err());
    store.close().await;
}

/// Any bytes at all under a key: an answer or an error, and with an error they stay.
#[test]
fn no_stored_bytes_break_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (store, prefix) = runtime.block_on(async { store(&shared().url()) });
    let direct = RefCell::new(shared().connect());
    let name = format!("{prefix}:{{1:k}}s");
    let ten = quota("10/h");
    let number = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte & 0x7f]),
        any::<u64>().prop_map(|number| [&[0xcf][..], &number.to_be_bytes()].concat()),
        any::<u32>().prop_map(|number| [&[0xce][..], &number.to_be_bytes()].concat()),
        any::<f64>().prop_map(|number| [&[0xcb][..], &number.to_be_bytes()].concat()),
        any::<Vec<u8>>(),
    ];
    let bytes =
        prop::collection::vec(number, 0..12).prop_map(|parts| [b"\xa3sg2".to_vec(), parts.concat()].concat());
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop_oneof![bytes, any::<Vec<u8>>()], |bytes| {
            redis::cmd("SET").arg(&name).arg(&bytes).exec(&mut *direct.borrow_mut()).expect("a server");
            match runtime.block_on(store.take(&[Charge::new("s", b"k", &ten)])) {
                Ok(verdict) => prop_assert!(verdict.decision.remaining() <= 10),
                Err(error) => {
                    prop_assert!(matches!(error, StoreError::Foreign { .. }), "{}", error);
                    let kept: Vec<u8> =
                        redis::cmd("GET").arg(&name).query(&mut *direct.borrow_mut()).expect("a server");
                    prop_assert_eq!(kept, bytes);
                }
            }
            Ok(())
        })
        .expect("no bytes to break it");
    runtime.block_on(store.close());
}

/// The script itself, asked by hand with these requests and this quota: nothing is done of them.
fn refused(requests: &[u8], quota: &[u8], what: &str) -> String {
    let mut direct = shared().connect();
    let key = prefix();
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(1).arg(&key).arg("0").arg("PUBLISH").arg(requests).arg(quota);
    let error = command.query::<Value>(&mut direct).expect_err(what);
    let kept: bool = redis::cmd("EXISTS").arg(&key).query(&mut direct).expect("a server");
    assert!(!kept, "{what}: what came before it is not done either");
    error.to_string()
}

/// A take of one charge.
fn take(key: u32, quota: u32, n: f64) -> Vec<u8> {
    let head = [&[0][..], &0.0_f64.to_le_bytes(), &1_u32.to_le_bytes()].concat();
    [&head, &key.to_le_bytes()[..], &quota.to_le_bytes(), &n.to_le_bytes()].concat()
}

/// Ten an hour, as the script is told.
const TEN: [u8; 9] = [1, 10, 10, 1, 0xce, 0x15, 0x75, 0x2a, 0x00];

#[test]
fn a_number_that_is_none_is_refused_by_the_script() {
    let good = take(1, 1, 3.0);
    let mut direct = shared().connect();
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(1).arg(prefix()).arg("0").arg("PUBLISH").arg(&good).arg(&TEN);
    let said: Vec<i64> = command.query(&mut direct).expect("nothing is wrong with it");
    assert_eq!(said[..4], [0, 0, 0, 7]);
    for n in [-1.0, 1.5, f64::NAN, f64::INFINITY, 9_007_199_254_740_994.0] {
        let error = refused(&[&good[..], &take(1, 1, n)].concat(), &TEN, "no number");
        assert!(error.contains("expected a whole number from 0 to 2^53"), "{n}: {error}");
    }
    for (key, quota) in [(0, 1), (2, 1), (1, 0), (1, 2), (u32::MAX, 1), (1, u32::MAX)] {
        let error = refused(&[&good[..], &take(key, quota, 1.0)].concat(), &TEN, "no place");
        assert!(error.contains("places of what was given"), "{key}, {quota}: {error}");
    }
    for length in 1..good.len() {
        let error = refused(&[&good[..], &good[..length]].concat(), &TEN, "cut short");
        assert!(error.contains("data string too short"), "{length}: {error}");
    }
}

#[test]
fn a_quota_that_is_none_is_refused_by_the_script() {
    let number = |number: f64| [&[0xcb][..], &number.to_be_bytes()].concat();
    let with = |place: usize, bytes: &[u8]| {
        let mut parts: Vec<Vec<u8>> = [1, 10, 10, 1, 100].map(|number| vec![number]).to_vec();
        parts[place] = bytes.to_vec();
        parts.concat()
    };
    let mut quotas =
        vec![Vec::new(), vec![1, 10, 10, 1], vec![1, 10, 10, 1, 100, 1], with(2, &[11]), with(0, &[6])];
    quotas.extend([0, 3, 4].map(|place| with(place, &[0])));
    for place in 0..5 {
        let numbers = [-1.0, 1.5, f64::NAN, f64::INFINITY, 4_503_599_627_370_497.0];
        quotas.extend(numbers.iter().map(|bad| with(place, &number(*bad))));
        // Nothing, a truth, a text, a list, half a number.
        quotas.extend([&[0xc0][..], &[0xc3], &[0xa1, b'1'], &[0x91, 1], &[0xcf]].map(|bad| with(place, bad)));
    }
    for quota in quotas {
        let error = refused(&take(1, 1, 1.0), &quota, "no quota");
        assert!(error.contains("expected a quota") || error.contains("user_script"), "{quota:?}: {error}");
    }
}

#[tokio::test]
async fn a_quota_out_of_range_is_refused_by_name() {
    let (store, _) = store(&shared().url());
    for (text, expected) in [
        ("5 every 1500ns", "interval `1500ns`: expected a whole number of microseconds"),
        ("stock 1125899906842625", "burst `1125899906842625`: expected at most 1125899906842624 (2^50)"),
    ] {
        let quota = quota(text);
        assert_eq!(store.supports(&quota).expect_err("out of range").to_string(), expected);
        let error = store.take(&[Charge::new("s", b"k", &quota)]).await.expect_err("out of range");
        assert_eq!(error.to_string(), expected);
    }
    store.close().await;
}

/// Users who may do all that is needed, and no more; and users who may not.
#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let server = Server::start(&[]);
    let mut direct = server.connect();
    let needed = [
        "+evalsha",
        "+eval",
        "+time",
        "+get",
        "+set",
        "+del",
        "+publish",
        "+subscribe",
        "+unsubscribe",
        "+ping",
        "+hello",
    ];
    let user = |direct: &mut redis::Connection, name: &str, rights: &[&str]| {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(name).arg("reset").arg("on").arg(">pass").arg(rights);
        command.exec(direct).expect("a server");
    };
    let names = ["~lim:*", "&lim:*"];
    user(&mut direct, "enough", &[&names[..], &needed].concat());
    let without = |right: &str| -> Vec<&str> {
        names.iter().chain(&needed).copied().filter(|other| *other != right).collect()
    };
    user(&mut direct, "scriptless", &[&names[..], &["+@all", "-@scripting"]].concat());
    for right in ["+set", "+get", "+time", "~lim:*"] {
        user(&mut direct, &right.replace(['+', '~', ':', '*'], ""), &without(right));
    }
    let open = |user: &str, password: &str| {
        let url = format!("redis://{user}:{password}@127.0.0.1:{}", server.port);
        let settings = Settings::new(&url).and_then(|settings| settings.prefix("lim")).expect("an address");
        Redis::open(settings.timeout(PATIENCE).connect_timeout(PATIENCE))
    };
    let ten = quota("10/h");
    let charge = Charge::new("s", b"k", &ten);
    let enough = open("enough", "pass");
    enough.ping().await.expect("all rights that are needed");
    assert_eq!(enough.take(&[charge]).await.expect("all rights").decision.remaining(), 9);
    assert_eq!(enough.put(charge).await.expect("all rights"), 1);
    for name in ["scriptless", "set", "get", "time", "lim"] {
        let store = open(name, "pass");
        let error = store.take(&[charge]).await.expect_err("a right is missing").to_string();
        assert!(
            error.contains(&format!("its user `{name}` may not")) && error.contains("+evalsha"),
            "{error}"
        );
        assert!(error.contains("~lim:*"), "{error}");
        store.close().await;
    }
    assert_eq!(
        enough.peek(&[charge.of(0)]).await.expect("all rights").decision.remaining(),
        10,
        "nothing was taken"
    );
    let stranger = open("enough", "wrong");
    let error = stranger.take(&[charge]).await.expect_err("a wrong password");
    assert!(error.to_string().contains("does not let user `enough` in"), "{error}");
    for secret in ["pass", "wrong"] {
        assert!(!format!("{error} {error:?} {stranger:?} {enough:?}").contains(&format!("{secret}@")));
    }
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    stranger.close().await;
    enough.close().await;
}

#[tokio::test]
async fn memory_that_is_full_is_named_and_takes_nothing() {
    let server = Server::start(&["maxmemory-policy noeviction"]);
    let (store, _) = store(&server.url());
    let mut direct = server.connect();
    let ten = quota("10/h");
    let charge = Charge::new("s", b"k", &ten);
    assert_eq!(store.take(&[charge]).await.expect("an answer").decision.remaining(), 9);
    let limit = |direct: &mut redis::Connection, bytes: &str| {
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec(direct).expect("a server");
    };
    limit(&mut direct, "1");
    let error = store.take(&[charge, Charge::new("s", b"l", &ten)]).await.expect_err("no room");
    assert!(error.to_string().contains("memory is full") && error.is_outage(), "{error}");
    limit(&mut direct, "0");
    assert_eq!(store.take(&[charge]).await.expect("an answer").decision.remaining(), 8);
    store.close().await;
}

#[tokio::test]
async fn replicas_that_are_missing_are_named_and_nothing_is_taken() {
    let server = Server::start(&[]);
    let (store, _) = store(&server.url());
    let ten = quota("10/h");
    let charge = Charge::new("s", b"k", &ten);
    assert_eq!(store.take(&[charge]).await.expect("an answer").decision.remaining(), 9);
    let mut direct = server.connect();
    let wants = |direct: &mut redis::Connection, replicas: &str| {
        let set = ["SET", "min-replicas-to-write", replicas];
        redis::cmd("CONFIG").arg(&set).exec(direct).expect("a server");
    };
    wants(&mut direct, "1");
    for _ in 0..3 {
        let error = store.take(&[charge]).await.expect_err("a master alone");
        assert!(error.to_string().contains("fewer replicas") && error.is_outage(), "{error}");
    }
    wants(&mut direct, "0");
    assert_eq!(store.take(&[charge]).await.expect("an answer").decision.remaining(), 8);
    store.close().await;
}

/// A Cluster taken for one server, and one server for a Cluster.
#[tokio::test]
async fn the_wrong_kind_of_address_is_named() {
    let (single, node) = (shared(), &crate::cluster::shared().nodes[0]);
    let keys: Vec<[u8; 1]> = (b'a'..=b'p').map(|key| [key]).collect();
    let ten = quota("10/h");
    let charges: Vec<Charge<'_>> = keys.iter().map(|key| Charge::new("s", key, &ten)).collect();
    for (url, expected) in [
        (format!("redis://127.0.0.1:{}", node.port), "redis+cluster://"),
        (format!("redis+cluster://127.0.0.1:{}", single.port), "redis://"),
    ] {
        let (store, _) = store(&url);
        let error = store.take(&charges).await.expect_err("the wrong kind").to_string();
        assert!(error.contains(&format!("expected the address {expected}")), "{url}: {error}");
        store.close().await;
    }
}

#[tokio::test]
async fn an_address_where_something_else_answers_is_named() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (store, _) = store(&format!("redis://{}", other.local_addr().expect("bound")));
    let answering = tokio::spawn(async move {
        // For as long as the test runs, as a web server.
        while let Ok((mut socket, _)) = other.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            // A client that is gone needs no answer.
            drop(socket.write_all(answer).await);
        }
    });
    let error = store.ping().await.expect_err("no Redis").to_string();
    assert!(error.contains("not Redis's protocol") && !error.contains('\n'), "{error}");
    answering.abort();
    store.close().await;
}
