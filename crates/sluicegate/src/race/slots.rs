//! Futures that are polled in one task.
//!
//! Where there will be two at the most, they live here, in place, and are polled with the task's own waker, both each time that the
//! task is: as a bare select does it, and nothing is allocated. Where there may be more, each has a waker of its own, and
//! is polled only when it was woken itself.

mod woken;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use woken::Woken;

/// How many there is a place for.
const PLACES: usize = 2;

pin_project! {
    /// Futures by their number.
    pub(super) struct Slots<A> {
        #[pin]
        first: Option<A>,
        #[pin]
        second: Option<A>,
        // Of each place, whether to poll who is in it.
        due: [bool; PLACES],
        // All of them, where there may be more than there are places; apart, so that two are small.
        woken: Option<Box<Woken<A>>>,
    }
}

impl<A: Future> Slots<A> {
    /// For so many at the most, numbered from 0 on.
    pub(super) fn new(most: usize) -> Self {
        let woken = (most > PLACES).then(Box::default);
        Self { first: None, second: None, due: [true; PLACES], woken }
    }

    pub(super) fn len(&self) -> usize {
        let places = usize::from(self.first.is_some()) + usize::from(self.second.is_some());
        places + self.woken.as_ref().map_or(0, |woken| woken.len())
    }

    /// One more, which is to be polled.
    pub(super) fn push(self: Pin<&mut Self>, number: usize, future: A) {
        let mut this = self.project();
        match (this.woken, number) {
            (None, 0) => this.first.set(Some(future)),
            (None, 1) => this.second.set(Some(future)),
            (woken, _) => woken.get_or_insert_default().push(number, future),
        }
    }

    /// Polls those who are due, each once, until one is ready: its number and output. None if none is.
    pub(super) fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Option<(usize, A::Output)> {
        let this = self.project();
        for (number, mut place) in [this.first, this.second].into_iter().enumerate() {
            let Some(future) = place.as_mut().as_pin_mut().filter(|_| this.due[number]) else { continue };
            this.due[number] = false;
            if let Poll::Ready(output) = future.poll(context) {
                place.set(None);
                return Some((number, output));
            }
        }
        this.woken.as_mut()?.poll(context)
    }

    /// The task's poll is over. At the next one nobody knows which of those in place was woken.
    pub(super) fn pause(self: Pin<&mut Self>) {
        *self.project().due = [true; PLACES];
    }

    /// Drops all.
    pub(super) fn clear(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.first.set(None);
        this.second.set(None);
        *this.woken = None;
    }
}
