//! The example `heartbeat`, in virtual time: what its main would print.
#![cfg(feature = "tokio")]

use sluicegate::detector::{End, Life};

#[path = "../examples/heartbeat.rs"]
#[expect(dead_code, reason = "its main is for who runs it")]
mod heartbeat;

#[tokio::test(start_paused = true)]
async fn a_consumer_that_takes_nothing_stalls_a_worker_that_lives() {
    let lives = heartbeat::on_an_interval().await.expect("the example runs");
    assert_eq!(lives, [Life::Stalled, Life::Alive, Life::Ended(End::Gone)]);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_hangs_is_heard_and_its_worker_ended() {
    let heard = heartbeat::at_each_unit().await.expect("the example runs");
    assert_eq!(heard, (Life::Dead, End::Gone, 3));
}
