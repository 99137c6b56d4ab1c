//! Several readers at once, beside a model.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use http_body::Body;
use proptest::prelude::*;
use sluicegate_tower::http::replay::{Replay, ReplayBody, ReplayError};

use super::fed::{Fed, Next, Woken, bytes, poll, trailers};

/// A reader, and what the model knows of it.
struct Reader {
    body: ReplayBody<Fed>,
    woken: Arc<Woken>,
    read: usize,
    lost: bool,
    done: bool,
    /// Its last poll was pending.
    waits: bool,
}

impl Reader {
    fn new(body: ReplayBody<Fed>) -> Self {
        Self { body, woken: Arc::default(), read: 0, lost: false, done: false, waits: false }
    }
}

/// The body as the model has it: everything, for ever.
struct World {
    bound: usize,
    fed: Fed,
    /// What is fed, and not read by anybody.
    to_come: VecDeque<Next>,
    replay: Option<Replay<Fed>>,
    readers: Vec<Reader>,
    /// How many bytes anybody has read.
    live: usize,
    /// How it has ended, once anybody knows.
    end: Option<Next>,
    spent: bool,
    total: Option<usize>,
}

/// What the trailers take.
const TRAILERS: usize = 5 + 2 + 128;

impl World {
    fn new(bound: usize, total: Option<usize>) -> Self {
        let fed = Fed::default();
        fed.0.lock().unwrap().total = total;
        let body = ReplayBody::new(fed.clone(), bound);
        let replay = body.keep();
        assert_eq!(replay.is_some(), total.is_none_or(|total| total <= bound));
        Self {
            bound,
            fed,
            to_come: VecDeque::new(),
            replay,
            readers: vec![Reader::new(body)],
            live: 0,
            end: None,
            spent: false,
            total,
        }
    }

    /// Somebody has read so much more of the body itself.
    fn more(&mut self, by: usize, more: usize) {
        let needed = self.live + more;
        self.spent |= self.replay.is_some() && needed > self.bound;
        for (number, reader) in self.readers.iter_mut().enumerate() {
            reader.lost |= number != by && !reader.done && needed - reader.read > self.bound;
        }
    }

    fn read(&mut self, number: usize) {
        let waker = Waker::from(Arc::clone(&self.readers[number].woken));
        self.readers[number].woken.0.store(false, Ordering::Relaxed);
        let ended = self.readers[number].body.is_end_stream();
        let polled = poll(&mut self.readers[number].body, &waker);
        let live = self.live;
        let reader = &mut self.readers[number];
        reader.waits = polled.is_pending();
        assert!(!ended || matches!(polled, Poll::Ready(None)), "it was at its end");
        let Poll::Ready(polled) = polled else {
            assert!(!reader.done && !reader.lost && reader.read == live);
            assert!(self.end.is_none() && self.to_come.is_empty(), "there is something to read");
            return;
        };
        if reader.done {
            assert!(polled.is_none());
            return;
        }
        if reader.lost {
            assert!(matches!(polled, Some(Err(ReplayError::Behind))), "{polled:?}");
            reader.done = true;
            return;
        }
        let repeats = reader.read < live && !matches!(self.end, Some(Next::Error));
        let next = if repeats { None } else { self.end.clone() };
        let first = next.is_none() && !repeats;
        let next = if first { self.to_come.pop_front() } else { next };
        match polled {
            Some(Ok(frame)) if frame.is_data() => {
                let data = frame.into_data().unwrap();
                assert_eq!(data, bytes(reader.read, data.len()));
                reader.read += data.len();
                if first {
                    assert!(matches!(next, Some(Next::Data(len)) if len == data.len()), "{next:?}");
                    self.more(number, data.len());
                    self.live += data.len();
                }
                assert!(self.readers[number].read <= self.live);
                return;
            }
            Some(Ok(frame)) => {
                assert!(matches!(next, Some(Next::Trailers)), "{next:?}");
                assert_eq!(frame.into_trailers().unwrap(), trailers());
            }
            Some(Err(ReplayError::Body(error))) => {
                assert!(first && matches!(next, Some(Next::Error)), "{error}");
            }
            Some(Err(ReplayError::Broken)) => assert!(!first && matches!(next, Some(Next::Error))),
            None => assert!(matches!(next, Some(Next::End)), "{next:?}"),
            Some(Err(error)) => panic!("{error}"),
        }
        reader.done = true;
        if first {
            match next {
                Some(Next::Trailers) => self.more(number, TRAILERS),
                Some(Next::Error) => self.spent = true,
                _ => {}
            }
            self.end = next;
        }
    }

    fn is_right(&self) {
        let held = self.readers.iter().map(|reader| reader.body.held()).max();
        let held = held.max(self.replay.as_ref().map(Replay::held)).unwrap_or(0);
        assert!(held <= self.bound, "{held} of {} bytes are held", self.bound);
        let active = self.readers.iter().filter(|reader| !reader.done && !reader.lost);
        let trailers = matches!(self.end, Some(Next::Trailers));
        let behind = active.clone().any(|reader| reader.read < self.live || trailers);
        if (self.replay.is_none() || self.spent) && active.count() <= 1 && !behind {
            assert_eq!(held, 0, "nobody needs it");
        }
        let silent = self.fed.0.lock().unwrap().silent;
        for reader in self.readers.iter().filter(|reader| !reader.done && !reader.lost) {
            let there =
                reader.read < self.live || self.end.is_some() || (!silent && !self.to_come.is_empty());
            assert!(!reader.waits || !there || reader.woken.0.load(Ordering::Relaxed), "it sleeps for ever");
            if let (Some(total), None) = (self.total, &self.end) {
                assert_eq!(reader.body.size_hint().exact(), Some((total - reader.read) as u64));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Feed(usize),
    Read(usize),
    Open,
    Drop(usize),
    LetGo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_usize..60).prop_map(Step::Feed),
        8 => (0_usize..4).prop_map(Step::Read),
        2 => Just(Step::Open),
        1 => (0_usize..4).prop_map(Step::Drop),
        1 => Just(Step::LetGo),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn several_readers_get_the_same_or_are_told_that_it_is_gone(
        bound in prop_oneof![0_usize..20, 100_usize..400],
        steps in steps(),
        end in prop_oneof![Just(Next::End), Just(Next::Trailers), Just(Next::Error)],
        known in any::<bool>(),
        silent in any::<bool>(),
    ) {
        let total = steps.iter().map(|step| if let Step::Feed(len) = step { *len } else { 0 }).sum();
        let mut world = World::new(bound, known.then_some(total));
        world.fed.0.lock().unwrap().silent = silent;
        let rest = std::iter::repeat_n([0, 1, 2, 3].map(Step::Read), 80).flatten();
        let rest = rest.clone().take(5).chain([Step::Open, Step::Open]).chain(rest);
        let feed = |world: &mut World, next: Next| {
            world.to_come.push_back(next.clone());
            world.fed.feed(next);
        };
        let most = steps.len();
        for (number, step) in steps.into_iter().chain(rest).enumerate() {
            if number == most {
                feed(&mut world, end.clone());
            }
            match step {
                Step::Feed(len) => feed(&mut world, Next::Data(len)),
                Step::Read(number) if number < world.readers.len() => world.read(number),
                Step::Open if world.readers.len() < 4 => {
                    let again = world.replay.as_ref().and_then(Replay::again);
                    prop_assert_eq!(again.is_some(), world.replay.is_some() && !world.spent);
                    world.readers.extend(again.map(Reader::new));
                }
                Step::Drop(number) if number < world.readers.len() => drop(world.readers.remove(number)),
                Step::LetGo => world.replay = None,
                _ => {}
            }
            world.is_right();
        }
        prop_assert!(world.readers.iter().all(|reader| reader.done), "all were read to their end");
    }
}
