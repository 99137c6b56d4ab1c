use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A list, searched from its beginning each time.
struct Model {
    most: usize,
    keep: u64,
    /// What, and when it ended; in the order of beginnings. And in which order they ended.
    all: Vec<(u64, Option<u64>)>,
    ended: Vec<u64>,
    counts: Counts,
}

impl Model {
    fn drop_ended(&mut self, which: u64) {
        self.all.retain(|(what, _)| *what != which);
        self.ended.retain(|what| *what != which);
    }

    /// Who ended earliest; of several at one instant, who was told first.
    fn first_ended(&self) -> Option<(u64, u64)> {
        let at = |what: u64| self.all.iter().find(|entry| entry.0 == what).unwrap().1.unwrap();
        self.ended.iter().map(|what| (at(*what), *what)).min_by_key(|(at, _)| *at)
    }

    fn sweep(&mut self, now: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Some((at, what)) = self.first_ended().filter(|(at, _)| at + self.keep <= now) {
            assert!(at <= now);
            gone.push(what);
            self.counts.expired += 1;
            self.drop_ended(what);
        }
        gone
    }

    fn begin(&mut self, what: u64, now: u64) -> Result<Vec<u64>, u64> {
        if self.all.iter().filter(|entry| entry.1.is_none()).count() >= self.most {
            self.counts.refused += 1;
            return Err(what);
        }
        let mut gone = self.sweep(now);
        if self.all.len() >= self.most {
            let (_, first) = self.first_ended().unwrap();
            gone.push(first);
            self.counts.evicted += 1;
            self.drop_ended(first);
        }
        self.counts.begun += 1;
        self.all.push((what, None));
        Ok(gone)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin,
    /// The one with this number, whether it is there or not.
    End(u64),
    Wait(u64),
    /// A clock that steps back.
    Back(u64),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Begin),
        4 => (1..60_u64).prop_map(Step::End),
        2 => (0..40_u64).prop_map(Step::Wait),
        1 => (0..10_u64).prop_map(Step::Back),
        1 => Just(Step::Sweep),
    ];
    vec(step, 0..120)
}

proptest! {
    #[test]
    fn it_is_a_list_with_a_bound(most in 1..6_usize, keep in 1..60_u64, steps in steps()) {
        let mut shelf = Shelf::new(Settings::new(most, Duration::from_nanos(keep)).unwrap());
        let (all, ended, counts) = (Vec::new(), Vec::new(), Counts::default());
        let mut model = Model { most, keep, all, ended, counts };
        let (mut now, mut begun) = (100, 0);
        for step in steps {
            match step {
                Step::Begin => {
                    // As the machine numbers them: what is refused has no number.
                    let what = begun + 1;
                    let answer = shelf.begin(what, now);
                    let expected = model.begin(what, now);
                    begun += u64::from(answer.is_ok());
                    prop_assert_eq!(answer, expected.map(|gone| (Serial(what), gone)));
                }
                Step::End(what) => {
                    shelf.end(Serial(what), now);
                    if let Some(entry) = model.all.iter_mut().find(|entry| entry.0 == what && entry.1.is_none()) {
                        entry.1 = Some(now);
                        model.ended.push(what);
                    }
                }
                Step::Wait(by) => now += by,
                Step::Back(by) => now -= by.min(now),
                Step::Sweep => prop_assert_eq!(shelf.sweep(now), model.sweep(now)),
            }
            prop_assert!(shelf.running() + shelf.kept() <= most);
            prop_assert_eq!(shelf.kept(), model.ended.len());
            prop_assert!(shelf.iter().copied().eq(model.all.iter().map(|entry| entry.0)));
            prop_assert_eq!(shelf.counts(), model.counts);
            let next = model.first_ended().map(|(at, _)| at + keep);
            prop_assert_eq!(shelf.next_expiry(), next);
        }
    }
}

#[test]
fn settings_that_can_t_be_are_named() {
    let error = Settings::new(0, Duration::from_secs(1)).unwrap_err();
    assert_eq!((error.field(), error.to_string().as_str()), ("most", "most `0`: expected at least 1"));
    let error = Settings::new(1, Duration::ZERO).unwrap_err();
    assert_eq!(error.field(), "keep");
}

#[test]
fn what_can_t_begin_leaves_all_as_it_was() {
    let mut shelf = Shelf::new(Settings::new(1, Duration::from_nanos(5)).unwrap());
    let (only, _) = shelf.begin("only", 0).unwrap();
    assert_eq!(shelf.begin("second", 1_000), Err("second"));
    assert_eq!((shelf.get(only), shelf.running(), shelf.counts().refused), (Some(&"only"), 1, 1));
    shelf.end(only, 7);
    shelf.end(only, 9);
    assert_eq!(shelf.next_expiry(), Some(12), "it has ended once");
}
