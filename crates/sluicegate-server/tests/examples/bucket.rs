//! The bucket that is taken from, put into and watched.

use sluicegate::memory::Memory;
use sluicegate::store::{Charge, Store};
use sluicegate_disk::Disk;
use sluicegate_testkit::redis_server::Server as Redis;
use sluicegate_testkit::wait::within;

use crate::redis::settings;
use crate::shared_bucket::run;

/// What it says, whatever the store.
const SAID: [&str; 8] = [
    "stock 5 max 10: granted, 5 of 10 left",
    "take 5: granted, 0 of 10 left",
    "take 5: refused: later, when tokens are put back",
    "take 11: refused: never, the limit is 10",
    "put 5: 5 had room",
    "put 5: 5 had room",
    "watch 10: granted, 10 of 10 left",
    "put 1: 0 had room",
];

/// Runs it twice: what the first run has left does not show in the second.
async fn says_so(store: &impl Store) {
    for _ in 0..2 {
        let mut said = Vec::new();
        within("the program", run(store, |line| said.push(line))).await.unwrap();
        assert_eq!(said, SAID);
    }
}

#[tokio::test]
async fn in_memory() {
    says_so(&Memory::new()).await;
}

#[tokio::test]
async fn in_a_file_where_it_outlives_the_process() {
    let file = crate::file();
    let disk = Disk::open(&file).unwrap();
    says_so(&disk).await;
    disk.close().unwrap();
    let (disk, quota) = (Disk::open(&file).unwrap(), "stock 5 max 10".parse().unwrap());
    let left = disk.peek(&[Charge::new("shared_bucket", b"example", &quota)]).await.unwrap();
    assert_eq!(left.decision.remaining(), 10);
    disk.close().unwrap();
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn in_redis() {
    let redis = Redis::start(&[]);
    let store = sluicegate_redis::Redis::open(settings(&redis));
    says_so(&store).await;
    store.close().await;
}
