//! A buffer is got, its ends are written, and it is given back by the same thread.

use std::cell::RefCell;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};

use super::sizes::Sizes;
use super::source::{BytesMuts, Ends, ObjectPools, Source, Vecs, ours, zeropool};
use super::{AHEAD, Subject};
use crate::bucket::turn::{self, Turn};

/// Held at once, in the case of several.
pub(super) const HELD: usize = 8;
const EACH: u32 = 8;

pub(super) fn subjects() -> Vec<Subject> {
    let mut all = Vec::new();
    for threads in [1, 2] {
        let name = |what: &str| format!("{what}, {threads} thread{}", if threads == 1 { "" } else { "s" });
        all.extend(beside(&name("get and return"), &One { threads, sizes: Sizes::new() }));
        bytes(&name("get and return, BytesMut"), threads, &mut all);
        let held = beside(&name("8 held"), &Several { threads, sizes: Sizes::new() });
        all.extend(held.into_iter().map(|subject| subject.each(EACH)));
    }
    all
}

/// What is done with buffers, wherever they come from.
pub(super) trait Plan {
    fn work(&self, from: impl Source + 'static) -> impl Fn(u64) -> Turn + 'static;
}

/// The same with ours and with all others.
pub(super) fn beside(case: &str, plan: &impl Plan) -> Vec<Subject> {
    vec![
        Subject::new(case, plan.work(ours::<Vec<u8>>())),
        Subject::new(case, plan.work(Vecs)).of("Vec::with_capacity", AHEAD),
        Subject::new(case, plan.work(BytesMuts)).of("BytesMut::with_capacity", AHEAD),
        Subject::new(case, plan.work(ObjectPools::new())).of("object-pool", AHEAD),
        Subject::new(case, plan.work(zeropool())).of("zeropool", AHEAD),
    ]
}

/// Got and given back.
struct One {
    threads: u64,
    sizes: Sizes,
}

impl Plan for One {
    fn work(&self, from: impl Source + 'static) -> impl Fn(u64) -> Turn + 'static {
        let (threads, sizes) = (self.threads, self.sizes.clone());
        move |operations| {
            turn::take(threads, operations, || {
                let size = sizes.next();
                from.get(size).write(size)
            })
        }
    }
}

/// Eight are got, then all given back.
struct Several {
    threads: u64,
    sizes: Sizes,
}

impl Plan for Several {
    fn work(&self, from: impl Source + 'static) -> impl Fn(u64) -> Turn + 'static {
        let (threads, sizes) = (self.threads, self.sizes.clone());
        move |operations| {
            turn::take(threads, operations / u64::from(EACH), || {
                let mut right = true;
                let buffers: [_; HELD] = std::array::from_fn(|_| {
                    let size = sizes.next();
                    let mut buffer = from.get(size);
                    right &= buffer.write(size);
                    buffer
                });
                drop(black_box(buffers));
                right
            })
        }
    }
}

thread_local! {
    /// What is split again and again.
    static GROWN: RefCell<BytesMut> = RefCell::default();
}

fn bytes(case: &str, threads: u64, all: &mut Vec<Subject>) {
    let sizes = Sizes::new();
    let one = One { threads, sizes: sizes.clone() };
    all.push(Subject::new(case, one.work(ours::<BytesMut>())));
    let plain = Subject::new(case, one.work(BytesMuts));
    all.push(plain.of("BytesMut::with_capacity", AHEAD));
    let again = Subject::new(case, move |operations| {
        turn::take(threads, operations, || {
            let size = sizes.next();
            GROWN.with_borrow_mut(|buffer| {
                // Takes its memory again once what was split off is gone.
                buffer.reserve(size);
                let fits = buffer.write(size);
                buffer.extend_from_slice(b"split");
                drop::<Bytes>(buffer.split().freeze());
                fits
            })
        })
    });
    all.push(again.of("reserve and split", AHEAD));
}
