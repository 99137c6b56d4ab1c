//! Several instances, one store that comes and goes, and callers who take all they can.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate::outage::Policy;
use sluicegate::store::{Charge, Decided, Store};
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, quota, share};

const MILLI: u64 = 1_000_000;

/// Whoever asks all the time, through an outage.
#[tokio::test(start_paused = true)]
async fn through_an_outage_all_together_keep_to_the_quota() {
    let (house, some) = (House::new(), quota("100/s burst 60"));
    let instances = [(); 3].map(|()| house.attended(share()));
    house.sleep(1100).await;
    let granted = Arc::new(Mutex::new(Vec::new()));
    let began = house.now();
    let callers = instances.iter().map(|instance| {
        let (instance, granted, time) = (instance.clone(), Arc::clone(&granted), house.time);
        async move {
            loop {
                let verdict = instance.take(&[Charge::new("s", b"k", &some)]).await.unwrap();
                let now = sluicegate::clock::Clock::now(&time);
                if now - began > 8_000 * MILLI {
                    return;
                }
                match verdict.decision.retry_after() {
                    _ if verdict.is_granted() => granted.lock().unwrap().push((now - began, verdict.by)),
                    wait => {
                        sluicegate::timer::Timer::sleep_for(
                            &time,
                            sluicegate::clock::nanos(wait.unwrap_or(Duration::from_millis(1))).max(1),
                        )
                        .await
                    }
                }
            }
        }
    });
    let outage = async {
        house.sleep(3000).await;
        house.store.set(Fault::Hangs);
        house.sleep(2000).await;
        house.store.set(Fault::None);
    };
    futures_util::future::join(futures_util::future::join_all(callers), outage).await;
    let granted = std::mem::take(&mut *granted.lock().unwrap());
    let local = granted.iter().filter(|(_, by)| *by == Decided::Outage(Policy::LocalShare)).count();
    assert!(local > 180, "{local} locally in two seconds");
    assert!(granted.last().is_some_and(|(_, by)| *by == Decided::Store));
    // In any span; no instance is ever more than a pause behind the others, and what it grants then is its part.
    let late = 1100;
    for (place, (from, _)) in granted.iter().enumerate() {
        for (count, (to, _)) in granted[place..].iter().enumerate() {
            let jump = if *from < 3_000 * MILLI && *to >= 3_000 * MILLI { 60 } else { 0 };
            let most = 60 + jump + (to - from) / (10 * MILLI) + late / 10 + 3;
            assert!(count as u64 <= most, "{count} from {from} to {to}");
        }
    }
    // In the long run: nothing is lost but a timeout at the beginning and what shares round; too much is only what two of three
    // may grant for a pause while the third is served by the store.
    let all = granted.len() as u64;
    assert!((60 + 8 * 100 - 40..=60 + 8 * 100 + 3 + 67 + 7).contains(&all), "{all} in 8 s");
    for instance in &instances {
        instance.close().await;
    }
}
