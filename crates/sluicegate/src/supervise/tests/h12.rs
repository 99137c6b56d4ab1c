//! H12: panics, hangs, leaks and slowness, noticed when the parameters say; and nobody who beats is started again.
//!
//! `cargo test -p sluicegate --lib h12 -- --nocapture` prints what was measured, in virtual time.

use sluicegate_core::clock::Clock;
use sluicegate_core::detector::Phi;

use super::*;
use crate::supervise::running::next_random;

/// Numbers that are spread evenly and are the same each time.
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = next_random(self.0);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// 100 ± 25 ms, by the normal distribution (Box and Muller), in nanoseconds; never less than a millisecond.
    fn interval(&mut self) -> u64 {
        let (one, two) = (self.share().max(1e-300), self.share());
        let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
        sluicegate_core::clock::nanos(Duration::from_secs_f64((0.1 + 0.025 * normal).max(0.001)))
    }
}

/// By phi, from the mean of the intervals that tokio's timers make of those (they round up to the millisecond).
fn watching(pause: u64) -> Watching {
    let phi = Phi::new(ms(100)).unwrap().with_pause(ms(pause)).unwrap();
    Watching::new(Rule::Phi(phi)).with_progress(rule(1000))
}

/// How a ward goes wrong after its beats.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Panics,
    /// It waits for ever, and gives no sign.
    Hangs,
    /// It gives signs, and makes no progress.
    Stalls,
    /// Its signs come ten times as slowly.
    Slows,
}

/// From what was its last sign (or progress) to the report, in milliseconds.
async fn noticed(wrong: Wrong, pause: u64, seed: u64) -> f64 {
    let time = TokioTime::new();
    let (last, noticed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (signs, at) = (Arc::clone(&last), Arc::clone(&noticed));
    let settings = Settings::default().with_intensity(0, ms(1)).unwrap();
    let mut steward = Steward::new(settings, time).with_report(move |report| {
        if let Event::Ended { .. } = report.event() {
            at.store(report.at(), Ordering::Relaxed);
        }
    });
    steward.add(Spec::new("it").watched(watching(pause)), move |ward: Ward<()>| {
        let last = Arc::clone(&signs);
        async move {
            let mut random = Random(seed);
            for _ in 0..300 {
                last.store(time.now(), Ordering::Relaxed);
                ward.beater().progress();
                time.sleep_for(random.interval()).await;
            }
            last.store(time.now(), Ordering::Relaxed);
            ward.beater().progress();
            match wrong {
                Wrong::Panics => std::panic::resume_unwind(Box::new("on purpose")),
                Wrong::Hangs => pending().await,
                Wrong::Stalls => ward.beater().beating(ms(100), pending::<()>()).await,
                Wrong::Slows => ward.beater().beating(ms(1000), pending::<()>()).await,
            }
            Ok::<_, String>(())
        }
    });
    assert!(steward.run().await.is_err(), "{wrong:?} was not noticed");
    (noticed.load(Ordering::Relaxed) - last.load(Ordering::Relaxed)) as f64 / 1e6
}

#[tokio::test(start_paused = true)]
async fn h12_what_goes_wrong_is_noticed_within_a_tenth_of_the_prediction() {
    // phi is 8 at 5.226 deviations beyond the mean, and the timers add half a millisecond to that.
    let phi = 100.5 + 5.226 * 25.0;
    println!("what            predicted   median of 30 seeds [smallest..largest]");
    for (wrong, pause, predicted) in [
        (Wrong::Panics, 0, 0.0),
        (Wrong::Hangs, 0, phi),
        (Wrong::Hangs, 300, phi + 300.0),
        (Wrong::Slows, 0, phi),
        (Wrong::Stalls, 300, 1000.0),
    ] {
        let mut measured = Vec::new();
        for seed in 1..=30 {
            measured.push(noticed(wrong, pause, 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)).await);
        }
        measured.sort_by(f64::total_cmp);
        let (least, median, most) = (measured[0], measured[15], measured[29]);
        println!("{wrong:?}, pause {pause}: {predicted:.0} ms, {median:.0} ms [{least:.0}..{most:.0}]");
        let slack = predicted / 10.0 + 1.0;
        assert!((median - predicted).abs() <= slack, "{wrong:?}: {median} instead of {predicted}");
        // One history of 300 intervals has a mean and a deviation of its own.
        assert!((least - predicted).abs() <= slack && (most - predicted).abs() <= slack, "{least} {most}");
    }
}

/// What leaks is told of so much later than it was noticed as the steward has patience.
#[tokio::test]
async fn h12_a_leak_is_told_when_the_patience_is_over() {
    use crate::timer::ManualTime;
    let (time, lines) = (ManualTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time.clone()).with_report(lines.listener());
    let (began, begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let work = Mutex::new(Some((began, released)));
    steward.add(Spec::new("it").watched(watching(0)), move |ward: Ward<(), ManualTime>| {
        let work = work.lock().unwrap().take();
        async move {
            let Some((began, released)) = work else { return pending::<Result<(), String>>().await };
            let blocks = move || {
                began.send(()).unwrap();
                let _ = released.recv();
            };
            ward.blocking(blocks).await;
            Ok(())
        }
    });
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    while begun.try_recv().is_err() {
        yield_now().await;
    }
    super::blocking::drive(&time, 5000 * MILLI, || handle.counts().leaked == 1).await;
    let told = lines.take();
    // No sign was ever given, so the prediction is that of what was assumed: 100 ± 25 ms.
    assert_eq!((told[1].0, told[2].0), (230, 330), "{told:?}");
    drop(release);
    run.abort();
}

/// A million beats of 100 ± 25 ms, by the rule as it is if nothing is said: nobody is started again.
#[tokio::test(start_paused = true)]
async fn h12_no_false_restart_in_a_million_beats() {
    let (time, lines) = (TokioTime::new(), Lines::default());
    let mut steward = Steward::new(patient(), time).with_report(lines.listener());
    const WARDS: u64 = 4;
    for seed in 1..=WARDS {
        let watching = Watching::new(Rule::Phi(Phi::new(ms(100)).unwrap()));
        let spec = Spec::new("it").watched(watching).with_when(When::OnFailure);
        steward.add(spec, move |ward: Ward<()>| async move {
            let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            for _ in 0..1_000_000 / WARDS {
                ward.beater().beat();
                time.sleep_for(random.interval()).await;
            }
            Ok::<_, String>(())
        });
    }
    let handle = steward.handle();
    let finished = steward.run().await;
    assert_eq!((finished.unwrap().shut_down, handle.counts().restarts), (false, 0), "{:?}", lines.take());
}
