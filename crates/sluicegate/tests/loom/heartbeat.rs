//! Signs of life: the last is never lost, and who waits for the first is woken.

use loom::future::block_on;
use loom::thread;
use sluicegate::clock::Clock;
use sluicegate::detector::{End, Life, Rule, Watching, Work};
use sluicegate::heartbeat;
use sluicegate::timer::ManualTime;

fn watching() -> Watching {
    Watching::new(Rule::timeout(std::time::Duration::from_secs(1)).unwrap())
}

/// Two threads: one gives two signs and ends, the other looks.
#[test]
fn who_sees_the_end_sees_the_last_sign() {
    loom::model(|| {
        let time = ManualTime::new();
        let (beater, mut listener) = heartbeat::pair(&watching(), time.clone());
        let other = thread::spawn(move || {
            beater.beat();
            time.set(5);
            beater.progress();
        });
        if listener.look() == Life::Ended(End::Gone) {
            assert_eq!((listener.last_beat(), listener.work()), (Some(5), Work::At(5)));
        }
        other.join().unwrap();
        assert_eq!(listener.look(), Life::Ended(End::Gone));
    });
}

/// Two threads: one gives the first sign and ends, the other waits for it.
#[test]
fn who_waits_for_the_first_sign_is_woken() {
    loom::model(|| {
        let time = ManualTime::new();
        time.set(3);
        let (beater, listener) = heartbeat::pair(&watching(), time.clone());
        let other = thread::spawn(move || {
            beater.beat();
            beater
        });
        assert_eq!(block_on(listener.first_beat()), Ok(time.now()));
        drop(other.join().unwrap());
    });
}

/// Two threads: one ends without a sign.
#[test]
fn who_waits_for_a_first_sign_that_never_comes_is_woken() {
    loom::model(|| {
        let (beater, listener) = heartbeat::pair(&watching(), ManualTime::new());
        let other = thread::spawn(move || drop(beater));
        assert_eq!(block_on(listener.first_beat()), Err(End::Gone));
        other.join().unwrap();
    });
}
