//! Any course of several threads, one step at a time, so that each count is exact: what is kept is there, and is never more than may be.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use proptest::prelude::*;

use super::*;

/// How many buffers there are, and what memory they have. Of one case at a time.
static LIVE: Mutex<(usize, usize)> = Mutex::new((0, 0));

/// Says what there is of its kind.
struct Known(usize);

impl Known {
    /// Has another room from now on.
    fn resize(&mut self, room: usize) {
        let mut live = LIVE.lock().unwrap();
        live.1 = live.1 + room - self.0;
        self.0 = room;
    }
}

impl Buffer for Known {
    fn with_room(bytes: usize) -> Self {
        let mut live = LIVE.lock().unwrap();
        *live = (live.0 + 1, live.1 + bytes);
        Self(bytes)
    }

    fn room(&self) -> usize {
        self.0
    }

    fn reset(&mut self, _: usize) {}
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut live = LIVE.lock().unwrap();
        *live = (live.0 - 1, live.1 - self.0);
    }
}

/// A thread that does what it is told.
struct Hand {
    tasks: Option<Sender<Box<dyn FnOnce() + Send>>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Hand {
    fn new() -> Self {
        let ((tasks, told), (does, done)) = (channel::<Box<dyn FnOnce() + Send>>(), channel());
        let thread = std::thread::spawn(move || {
            for task in told {
                task();
                does.send(()).unwrap();
            }
        });
        Self { tasks: Some(tasks), done, thread: Some(thread) }
    }

    /// Until it has done it.
    fn does(&self, task: impl FnOnce() + Send + 'static) {
        self.tasks.as_ref().unwrap().send(Box::new(task)).unwrap();
        self.done.recv().unwrap();
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.tasks = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So many that hold so many bytes.
    Get(usize, usize),
    /// One, or so many at once.
    Drop(usize, usize),
    Resize(usize, usize),
    TakeOut(usize),
    Trim,
    /// The thread ends, and there is another.
    End,
}

fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let op = prop_oneof![
        8 => (1..12_usize, 0..450_usize).prop_map(|(many, length)| Op::Get(many, length)),
        8 => (any::<usize>(), 1..20_usize).prop_map(|(at, many)| Op::Drop(at, many)),
        4 => (any::<usize>(), 0..450_usize).prop_map(|(at, room)| Op::Resize(at, room)),
        1 => any::<usize>().prop_map(Op::TakeOut),
        1 => Just(Op::Trim),
        1 => Just(Op::End),
    ];
    prop::collection::vec((0..3_usize, op), 1..60)
}

proptest! {
    #[test]
    fn what_is_kept_is_what_there_is_and_no_more_than_may_be(
        ops in ops(), most in 1..60_usize, most_bytes in 400..8000_usize,
    ) {
        let settings = Settings::new(&[50, 100, 400]).unwrap();
        let settings = settings.with_most(most).unwrap().with_most_bytes(most_bytes).unwrap();
        let pool = Pool::<Known>::new(settings);
        let out = Arc::new(Mutex::new(Vec::<Pooled<Known>>::new()));
        let mut hands: Vec<_> = (0..3).map(|_| Hand::new()).collect();
        let (mut got, mut detached) = (0_u64, 0_u64);
        for (hand, op) in ops {
            let (theirs, pool_of_theirs) = (Arc::clone(&out), pool.clone());
            match op {
                Op::Get(many, length) => {
                    got += many as u64;
                    hands[hand].does(move || {
                        let new = (0..many).map(|_| pool_of_theirs.get(length));
                        theirs.lock().unwrap().extend(new.inspect(|buffer| assert!(buffer.0 >= length)));
                    });
                }
                Op::Drop(at, many) => hands[hand].does(move || {
                    for _ in 0..many {
                        let mut out = theirs.lock().unwrap();
                        if out.is_empty() {
                            return;
                        }
                        let at = at % out.len();
                        drop(out.swap_remove(at));
                    }
                }),
                Op::Resize(at, room) => {
                    let mut out = out.lock().unwrap();
                    let all = out.len();
                    if let Some(buffer) = out.get_mut(at.checked_rem(all).unwrap_or(0)) {
                        buffer.resize(room);
                    }
                }
                Op::TakeOut(at) => {
                    let mut out = out.lock().unwrap();
                    if !out.is_empty() {
                        let at = at % out.len();
                        detached += 1;
                        drop(out.swap_remove(at).into_inner());
                    }
                }
                Op::Trim => hands[hand].does(move || pool_of_theirs.trim()),
                Op::End => hands[hand] = Hand::new(),
            }
            let (out, counts, live) = (out.lock().unwrap(), pool.counts(), *LIVE.lock().unwrap());
            let bytes: usize = out.iter().map(|buffer| buffer.0).sum();
            prop_assert_eq!((counts.kept, counts.kept_bytes), (live.0 - out.len(), live.1 - bytes));
            prop_assert!(counts.kept <= 3 * most && counts.kept_bytes <= 3 * most_bytes, "{:?}", counts);
            prop_assert_eq!((counts.outstanding(), counts.detached), (out.len() as u64, detached));
            prop_assert_eq!(counts.hits + counts.misses + counts.oversize, got);
        }
        out.lock().unwrap().clear();
        hands.clear();
        drop(pool);
        // Some are this thread's own.
        drop(Pool::<Known>::new(Settings::default()));
        prop_assert_eq!(*LIVE.lock().unwrap(), (0, 0));
    }
}
