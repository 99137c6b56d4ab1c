//! Both ends of a line.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ItemError;
use super::inside::{Count, Inside};
use super::intake::{Intake, Parcel, Stay};
use crate::permits::Permit;
use crate::supervise::Handle;
use crate::wake::hushed;

/// What the stages and both ends share.
#[derive(Default)]
pub(super) struct Course {
    /// Nothing is fed any more.
    over: AtomicBool,
    stops_at_failure: AtomicBool,
    failed: AtomicBool,
    /// The stages did not end by themselves: whoever looks after them is gone, or has given up.
    given_up: AtomicBool,
    pub(super) count: Count,
    /// Empties the line of each stage, and closes that of the output.
    lines: Mutex<Vec<Empties>>,
}

type Empties = Box<dyn Fn() + Send>;

impl Course {
    pub(super) fn stops_at_failure(&self) {
        self.stops_at_failure.store(true, Ordering::Relaxed);
    }

    /// An item has failed.
    pub(super) fn failed(&self) {
        if self.stops_at_failure.load(Ordering::Relaxed) {
            self.failed.store(true, Ordering::Release);
        }
    }

    /// Whether one has, and that stops the line.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.has_failed()
    }

    pub(super) fn empties(&self, line: impl Fn() + Send + 'static) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(line));
    }

    /// Drops what is in the lines, so that nobody waits for a place for ever.
    fn end(&self) {
        self.over.store(true, Ordering::Release);
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        for empty in lines {
            // Whom it wakes is foreign.
            hushed(empty);
        }
    }
}

/// However the stages come to their end, nothing is fed then, and the output hears of it.
pub(super) struct Over {
    course: Arc<Course>,
    is_regular: bool,
}

impl Over {
    pub(super) const fn new(course: Arc<Course>) -> Self {
        Self { course, is_regular: false }
    }

    /// They have done all.
    pub(super) fn regularly(mut self) {
        self.is_regular = true;
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        // Before the output hears.
        self.course.given_up.store(!self.is_regular, Ordering::Release);
        self.course.end();
    }
}

/// Where items go in. Clones are the same end; when the last is dropped, the stages do what is inside and end.
pub struct Feed<In> {
    door: Arc<Door<In>>,
}

struct Door<In> {
    course: Arc<Course>,
    first: Intake<In>,
}

impl<In> Drop for Door<In> {
    fn drop(&mut self) {
        self.first.line.close();
    }
}

impl<In> Clone for Feed<In> {
    fn clone(&self) -> Self {
        Self { door: Arc::clone(&self.door) }
    }
}

impl<In> Feed<In> {
    pub(super) fn new(course: Arc<Course>, first: Intake<In>) -> Self {
        Self { door: Arc::new(Door { course, first }) }
    }

    /// Puts an item into the first stage, if there is room now.
    ///
    /// # Errors
    /// The item, and why it is not taken.
    pub fn try_feed(&self, item: In) -> Result<(), (In, Refused)> {
        let Door { course, first } = &*self.door;
        if course.is_over() {
            return Err((item, Refused::Over));
        }
        let Some(place) = first.place_now() else { return Err((item, Refused::Full)) };
        self.put(item, place).map_err(|item| (item, Refused::Over))
    }

    /// Waits until the first stage has room for it; who comes first is first. Cancel-safe: dropped before it is ready, the item was not fed.
    ///
    /// # Errors
    /// The item, and why it is not taken: as many wait as [may](super::Pipeline::max_waiting); or nothing is taken any more, since the output
    /// was dropped, the stages have ended, or the line has stopped at a failure.
    pub async fn feed(&self, item: In) -> Result<(), (In, Refused)> {
        let Door { course, first } = &*self.door;
        let place = first.place().await;
        match place {
            _ if course.is_over() => Err((item, Refused::Over)),
            Ok(place) => self.put(item, place).map_err(|item| (item, Refused::Over)),
            Err(why) => Err((item, why)),
        }
    }

    fn put(&self, item: In, place: Permit) -> Result<(), In> {
        let Door { course, first } = &*self.door;
        let mut counted = course.count.lock();
        if counted.over {
            drop(counted);
            return Err(item);
        }
        match first.put(Ok(item), Stay { place, inside: Inside::new(course) }) {
            Ok(owed) => {
                counted.enter();
                drop(counted);
                // Whom it wakes is no matter of who feeds: the item is in.
                hushed(|| owed.pay());
                Ok(())
            }
            Err((item, Stay { place, inside })) => {
                drop(counted);
                inside.forget();
                drop(place);
                #[expect(clippy::unreachable, reason = "proven: it was put there as an item just now")]
                Err(item.unwrap_or_else(|_| unreachable!("an item comes back as it was")))
            }
        }
    }

    /// How many items are inside: fed, and not taken out. Once the output is gone: those that are not dropped yet, since they are worked
    /// on.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.door.course.count.inside()
    }
}

impl<In> fmt::Debug for Feed<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("inside", &self.inside()).finish_non_exhaustive()
    }
}

/// Why an item is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The first stage has no room; for who would wait, as many wait for it already as may.
    Full,
    /// Nothing is taken any more.
    Over,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the first stage is full",
            Self::Over => "the pipeline takes nothing any more",
        })
    }
}

impl Error for Refused {}

/// Where items come out. Dropped, it ends the pipeline: what is inside is dropped.
pub struct Output<Out> {
    course: Arc<Course>,
    last: Intake<Out>,
    pub(super) stages: Handle,
    has_ended: bool,
}

impl<Out> Output<Out> {
    pub(super) const fn new(course: Arc<Course>, last: Intake<Out>, stages: Handle) -> Self {
        Self { course, last, stages, has_ended: false }
    }

    /// What comes out next; none when all that was fed has, and nobody can feed any more. Cancel-safe.
    ///
    /// Stages that did not end by themselves have been given up: the runtime that they ran in is gone, or whoever looks after them. Then there
    /// is an [`ItemError::Gone`] for each item that was lost by that, and one if none was: so an end that is too early never looks like any other.
    pub async fn next(&mut self) -> Option<Result<Out, ItemError>> {
        if let Some(Parcel { item, stay: Stay { place, inside }, .. }) = self.last.line.pop().await {
            inside.out();
            drop(place);
            return Some(item);
        }
        // Once, even if no item was lost.
        let is_first = !std::mem::replace(&mut self.has_ended, true);
        let is_lost = self.course.count.lost_one() || (is_first && self.course.is_given_up());
        is_lost.then_some(Err(ItemError::Gone))
    }

    /// How many items are inside: fed, and not taken out.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.course.count.inside()
    }
}

impl<Out> Drop for Output<Out> {
    fn drop(&mut self) {
        self.course.count.leave();
        // Whom they wake is foreign.
        hushed(|| self.stages.shut_down());
        self.course.end();
        self.last.empty();
    }
}

impl<Out> fmt::Debug for Output<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("inside", &self.inside()).finish_non_exhaustive()
    }
}
