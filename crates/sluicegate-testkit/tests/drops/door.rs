//! A future that is right, or wrong in one way.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Dropped while it waits, it stays in the line.
    StaysInLine,
    /// Dropped when it was let in and not polled since, it stays inside.
    StaysInside,
    /// What it makes does not leave.
    NeverLeaves,
    /// The door opens and nobody is told.
    NotTold,
    /// It tells nobody whom to wake.
    Silent,
    /// It is the first poll's waker that is woken.
    FirstWaker,
    /// Its waker stays at the door.
    LeavesWaker,
    /// It panics when it is let in.
    Panics,
    /// It panics when it is dropped in the line.
    PanicsInDrop,
}

/// Lets one in when it is opened.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(crate) waiting: Cell<usize>,
    pub(crate) inside: Cell<usize>,
    let_in: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Door {
    /// Lets in who waits.
    pub(crate) fn open(&self, flaw: Flaw) {
        if !self.let_in.replace(true) {
            self.waiting.set(self.waiting.get() - 1);
            self.inside.set(self.inside.get() + 1);
        }
        if flaw != Flaw::NotTold
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }

    fn leave(&self) {
        self.inside.set(self.inside.get() - 1);
    }
}

/// Waits at a door.
pub(crate) struct Enter {
    door: Rc<Door>,
    flaw: Flaw,
    is_waiting: bool,
}

impl Enter {
    pub(crate) const fn new(door: Rc<Door>, flaw: Flaw) -> Self {
        Self { door, flaw, is_waiting: false }
    }

    fn forget_waker(&self) {
        if self.flaw != Flaw::LeavesWaker {
            self.door.waker.take();
        }
    }
}

impl Future for Enter {
    type Output = Inside;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Inside> {
        let flaw = self.flaw;
        if self.door.let_in.get() {
            assert!(flaw != Flaw::Panics, "let in");
            self.is_waiting = false;
            self.forget_waker();
            return Poll::Ready(Inside { door: Rc::clone(&self.door), leaves: flaw != Flaw::NeverLeaves });
        }
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.door.waiting.set(self.door.waiting.get() + 1);
        }
        let mut waker = self.door.waker.borrow_mut();
        if flaw != Flaw::Silent && (flaw != Flaw::FirstWaker || waker.is_none()) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        if !self.is_waiting {
            return;
        }
        assert!(self.flaw != Flaw::PanicsInDrop, "in the line");
        self.forget_waker();
        let (door, flaw) = (&self.door, self.flaw);
        if door.let_in.get() {
            if flaw != Flaw::StaysInside {
                door.leave();
            }
        } else if flaw != Flaw::StaysInLine {
            door.waiting.set(door.waiting.get() - 1);
        }
    }
}

/// Was let in.
pub(crate) struct Inside {
    door: Rc<Door>,
    leaves: bool,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.leaves {
            self.door.leave();
        }
    }
}
