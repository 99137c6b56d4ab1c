//! Ctrl-C while tokens are waited for.
use super::redis::say;
use super::{Bucket, ended, json, server, signal, spawn, told};
use sluicegate_testkit::wait::eventually;

/// Until when the next token is there for who asks now, in seconds.
async fn retry_after(bucket: &Bucket<'_>, key: &str) -> f64 {
    json(&bucket.of("peek", key, &[])).await.1["retry_after"].as_f64().expect("later")
}

#[tokio::test]
async fn what_was_booked_goes_back() {
    let url = server().url();
    let bucket = Bucket { store: &url, space: "interrupted", quota: "1/h" };
    for (key, name, code) in [("ann", "INT", 130), ("bob", "TERM", 143)] {
        assert_eq!(told(&bucket.of("take", key, &[])).await.0, 0);
        let waiting = spawn(&bucket.of("take", key, &["--wait", "3h"]));
        // Its token is spent before it is there: who comes next waits for another hour.
        eventually("a booking", async || (retry_after(&bucket, key).await > 3600.0).then_some(())).await;
        signal(&waiting, name).await;
        let waited = ended(waiting).await;
        assert_eq!((waited.code, waited.stdout.as_str()), (Some(code), ""), "{waited:?}");
        assert!(retry_after(&bucket, key).await <= 3600.0, "{name}: it went back before the process ended");
    }
}

#[tokio::test]
async fn a_watch_and_a_wait_for_a_put_end_too() {
    let url = server().url();
    let bucket = Bucket { store: &url, space: "stocks", quota: "stock 1" };
    assert_eq!(told(&bucket.of("take", "ann", &[])).await.0, 0);
    for args in [bucket.of("watch", "ann", &[]), bucket.of("take", "ann", &["--wait", "3h"])] {
        let waiting = spawn(&args);
        // It listens to signals before it asks anything; and once it listens to the key's channel, it waits.
        eventually("somebody who listens", async || {
            let said = say(server(), "PUBSUB NUMSUB sluicegate:{3:ann}stocks");
            said.ends_with(":1").then_some(())
        })
        .await;
        signal(&waiting, "INT").await;
        assert_eq!(ended(waiting).await.code, Some(130));
    }
}
