//! Time is the server's, never goes back, and takes buckets away when they are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate::store::{Charge, Store};
use sluicegate::timer::TokioTime;
use sluicegate_redis::Redis;
use sluicegate_testkit::wait::eventually;

use crate::server::{prefix, settings, shared};

const SECOND: u64 = 1_000_000;

#[tokio::test]
async fn a_server_whose_clock_steps_back_mints_nothing() {
    let now = Arc::new(AtomicU64::new(2_000 * SECOND));
    let read = Arc::clone(&now);
    let store = Redis::open_in_test_time(settings(&shared().url()), TokioTime::new(), move || {
        read.load(Ordering::Relaxed)
    });
    let quota = "1/s burst 10".parse().expect("a quota");
    let charge = Charge::new("s", b"k", &quota);
    assert_eq!(store.take_up_to(charge.of(4)).await.expect("an answer"), 4);
    now.store(1_000 * SECOND, Ordering::Relaxed);
    assert_eq!(store.take_all(charge).await.expect("an answer"), 6, "what was there is there");
    assert_eq!(store.take_all(charge).await.expect("an answer"), 0);
    let decision = store.take(&[charge]).await.expect("an answer").decision;
    assert_eq!(decision.retry_after(), Some(Duration::from_secs(1_001)), "once it has caught up");
    now.store(2_001 * SECOND, Ordering::Relaxed);
    assert_eq!(store.take_all(charge).await.expect("an answer"), 1, "what has flowed since it was seen last");
    store.close().await;
}

#[tokio::test]
async fn a_bucket_is_forgotten_once_it_is_full() {
    let prefix = prefix();
    let settings = settings(&shared().url()).prefix(&prefix).expect("a prefix");
    let store = Redis::open(settings);
    let mut direct = shared().connect();
    let mut lives = |key: &str| -> i64 {
        let name = format!("{prefix}:{{{}:{key}}}s", key.len());
        redis::cmd("PTTL").arg(name).query(&mut direct).expect("a server")
    };
    let quota = |text: &str| text.parse().expect("a quota");
    let (minute, short, stock) = (quota("60/m"), quota("10/s burst 10"), quota("stock 5"));
    let (other, late) = (quota("1/m burst 3"), quota("1/m burst 30 initial 0"));
    let _ = store.take(&[Charge::new("s", b"minute", &minute).of(30)]).await.expect("an answer");
    assert!(
        (30_000..=31_000).contains(&lives("minute")),
        "30 s, and a second for clocks: {}",
        lives("minute")
    );
    let _ = store.take(&[Charge::new("s", b"minute", &other)]).await.expect("an answer");
    assert!((59_000..=61_000).contains(&lives("minute")), "{}", lives("minute"));
    let _ = store.take(&[Charge::new("s", b"stock", &stock)]).await.expect("an answer");
    assert_eq!(lives("stock"), -1, "nothing but a put fills it");
    store.put(Charge::new("s", b"stock", &stock)).await.expect("an answer");
    assert!((0..=1_000).contains(&lives("stock")), "{}", lives("stock"));
    store.put(Charge::new("s", b"late", &late).of(30)).await.expect("an answer");
    assert!(lives("late") > 1_700_000, "a key that is forgotten begins as it did: {}", lives("late"));
    let _ = store.take(&[Charge::new("s", b"short", &short).of(10)]).await.expect("an answer");
    eventually("the key to be gone", async || (lives("short") == -2).then_some(())).await;
    assert_eq!(store.take_all(Charge::new("s", b"short", &short)).await.expect("an answer"), 10);
    store.close().await;
}

/// Who does not beat is gone, by the server's time, and so is a group that nobody is in.
#[tokio::test]
async fn instances_that_are_there_are_counted() {
    let prefix = prefix();
    let settings = settings(&shared().url()).prefix(&prefix).expect("a prefix");
    let now = Arc::new(AtomicU64::new(2_000 * SECOND));
    let read = Arc::clone(&now);
    let store =
        Redis::open_in_test_time(settings.clone(), TokioTime::new(), move || read.load(Ordering::Relaxed));
    let beat = async |group: &str, instance: &[u8], seconds: u64, at: u64| {
        now.store((2_000 + at) * SECOND, Ordering::Relaxed);
        store.beat(group, instance, Duration::from_secs(seconds)).await.expect("an answer")
    };
    assert_eq!(
        (beat("g", b"a", 10, 0).await, beat("g", &[0, 255], 20, 0).await, beat("h}", b"c", 10, 0).await),
        (1, 2, 1)
    );
    assert_eq!(beat("g", b"a", 10, 9).await, 2);
    assert_eq!(beat("g", &[0, 255], 10, 20).await, 1, "the first has not said so for ten");
    assert_eq!(beat("g", &[0, 255], 0, 21).await, 0);
    store.close().await;

    let store = Redis::open(settings);
    assert_eq!(store.beat("real", b"a", Duration::from_millis(50)).await.expect("an answer"), 1);
    let mut direct = shared().connect();
    let mut is_there = || {
        let there: bool = redis::cmd("EXISTS")
            .arg(format!("{prefix}:there:{{4:real}}"))
            .query(&mut direct)
            .expect("a server");
        there
    };
    eventually("the group to be gone", async || (!is_there()).then_some(())).await;
    redis::cmd("SET")
        .arg(format!("{prefix}:there:{{1:x}}"))
        .arg("1")
        .exec(&mut shared().connect())
        .expect("a server");
    let error = store.beat("x", b"a", Duration::from_secs(1)).await.expect_err("no group");
    assert!(error.to_string().contains("WRONGTYPE") || error.to_string().contains("wrong kind"), "{error}");
    store.close().await;
}
