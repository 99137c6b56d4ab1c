//! The bookkeeping beside a list: any starts, ends, cancellations and pauses.

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

const KEEP: u64 = 100 * SECOND;

/// What the model knows of one.
struct Known {
    id: Id,
    key: Option<u8>,
    state: &'static str,
    end: Option<oneshot::Sender<Result<u64, Failure>>>,
    /// When it ended, and as which.
    ended: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    Start(Option<u8>),
    /// The one at this place in the list, if there is one that runs.
    Finish(usize),
    Fail(usize),
    Cancel(usize),
    /// Seconds.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::option::of(0..4_u8).prop_map(Step::Start),
        3 => (0..5_usize).prop_map(Step::Finish),
        1 => (0..5_usize).prop_map(Step::Fail),
        1 => (0..5_usize).prop_map(Step::Cancel),
        2 => (0..70_u64).prop_map(Step::Wait),
    ];
    vec(step, 0..60)
}

struct Model {
    most: usize,
    all: Vec<Known>,
    ends: u64,
    counts: Counts,
}

impl Model {
    fn expire(&mut self, now: u64) {
        let before = self.all.len();
        self.all.retain(|known| known.ended.is_none_or(|(at, _)| at + KEEP > now));
        self.counts.expired += (before - self.all.len()) as u64;
    }

    fn running(&self) -> usize {
        self.all.iter().filter(|known| known.ended.is_none()).count()
    }

    /// Makes room, if there is any to be made.
    fn has_room(&mut self) -> bool {
        if self.all.len() == self.most {
            let first = self.all.iter().filter_map(|known| known.ended).min();
            let Some(first) = first else {
                self.counts.refused += 1;
                return false;
            };
            self.all.retain(|known| known.ended != Some(first));
            self.counts.evicted += 1;
        }
        self.counts.started += 1;
        true
    }

    fn end(&mut self, at: usize, now: u64, state: &'static str) -> Option<&mut Known> {
        let known = self.all.get_mut(at).filter(|known| known.ended.is_none())?;
        self.ends += 1;
        (known.state, known.ended) = (state, Some((now, self.ends)));
        Some(known)
    }
}

async fn play(most: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (time, jobs) = jobs(settings(most));
    let mut model = Model { most, all: Vec::new(), ends: 0, counts: Counts::default() };
    let mut forgotten = Vec::new();
    for step in steps {
        let now = time.now();
        model.expire(now);
        let before: Vec<Id> = model.all.iter().map(|known| known.id).collect();
        match step {
            Step::Start(key) => {
                let (end, ended) = oneshot::channel();
                let work = |_: Work<ManualTime>| async { ended.await.unwrap() };
                let name = key.map(|key| key.to_string());
                let answer = match &name {
                    Some(name) => jobs.start_once(Key::new("ann", name), work),
                    None => jobs.start(work).map(|id| Started { id, is_new: true }),
                };
                let same = model.all.iter().find(|known| key.is_some() && known.key == key);
                if let Some(same) = same {
                    prop_assert_eq!(answer, Ok(Started { id: same.id, is_new: false }));
                } else if model.has_room() {
                    let Started { id, is_new } = answer.unwrap();
                    prop_assert!(is_new && !before.contains(&id) && !forgotten.contains(&id));
                    model.all.push(Known { id, key, state: "running", end: Some(end), ended: None });
                } else {
                    prop_assert_eq!(
                        answer.map_err(|refused| refused.retry_after()),
                        Err(Some(Duration::from_secs(1)))
                    );
                }
            }
            Step::Finish(at) => {
                if let Some(known) = model.end(at, now, "done") {
                    known.end.take().unwrap().send(Ok(7)).unwrap();
                }
            }
            Step::Fail(at) => {
                if let Some(known) = model.end(at, now, "failed") {
                    known.end.take().unwrap().send(Err(FailureOf::<Here>::bug("on purpose").into())).unwrap();
                }
            }
            Step::Cancel(at) => {
                if let Some(known) = model.end(at, now, "cancelled") {
                    prop_assert!(jobs.cancel(known.id).is_some());
                }
            }
            Step::Wait(seconds) => {
                time.advance(Duration::from_secs(seconds));
                model.expire(time.now());
            }
        }
        settle().await;
        forgotten.extend(before.iter().filter(|id| model.all.iter().all(|known| known.id != **id)));
        for id in &forgotten {
            prop_assert!(jobs.status(*id).is_none());
        }
        let listed: Vec<_> = jobs.list().iter().map(|status| (status.id(), status.state())).collect();
        let expected: Vec<_> = model.all.iter().map(|known| (known.id, known.state)).collect();
        prop_assert_eq!(listed, expected);
        let running = model.running();
        let counts = Counts { running, kept: model.all.len() - running, ..model.counts };
        prop_assert!(running + counts.kept <= most);
        prop_assert_eq!(jobs.counts(), counts);
    }
    jobs.closed().await;
    prop_assert_eq!(jobs.counts().running, 0);
    Ok(())
}

proptest! {
    #[test]
    fn it_is_a_list_with_a_bound(most in 1..5_usize, steps in steps()) {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(most, steps))?;
    }
}
