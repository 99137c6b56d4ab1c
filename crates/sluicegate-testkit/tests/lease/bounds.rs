//! Several instances on one store: together they keep to the quota.

use sluicegate::store::Charge;

use crate::support::{House, quota, take};

/// Each is busy for a while, one more than the other; all ask for more than there is.
#[tokio::test(start_paused = true)]
async fn all_together_use_what_the_quota_has_and_no_more() {
    let (house, some) = (House::new(), quota("1000/s burst 200"));
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(house.instance().await);
    }
    let charge = Charge::new("s", b"k", &some);
    let mut used: Vec<u64> = Vec::new();
    let began = house.now();
    for turn in 0..1000_u64 {
        let mut granted = 0;
        for (place, instance) in instances.iter().enumerate() {
            let busy = (turn / 50 + place as u64).is_multiple_of(3);
            let n = if busy { 10 } else { 1 };
            for _ in 0..n {
                granted += u64::from(take(instance, charge).await.is_granted());
            }
        }
        used.push(granted);
        house.sleep(4).await;
    }
    let millis = (house.now() - began) / 1_000_000;
    let all: u64 = used.iter().sum();
    let held: u64 = instances.iter().map(|instance| instance.held()).sum();
    assert!(all <= 200 + millis, "{all} in {millis} ms");
    assert!(all + held + 300 >= 200 + millis, "{all} used and {held} held in {millis} ms");
    // A turn takes four milliseconds and what is waited for in it. In any span: the quota's, and a lifetime more.
    let turn = millis.div_ceil(used.len() as u64).max(4);
    let (mut meter, mut most) = (0_u64, 0);
    for granted in &used {
        meter += granted;
        most = most.max(meter);
        meter = meter.saturating_sub(4);
    }
    assert!(most <= 200 + 400 + (turn - 4) * used.len() as u64 + 40, "{most} at once");
    for instance in &instances {
        instance.close().await;
    }
    assert_eq!(instances.iter().map(|instance| instance.held()).sum::<u64>(), 0);
}
