//! A request's body on its way to the service: whose time that takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::stamp::Stamp;

/// What is noted of it.
#[derive(Debug)]
pub(super) struct Upload {
    /// Since when the request has its place at the service.
    begun: Stamp,
    /// Since when the client sends none of it that is waited for.
    waits: Stamp,
    /// How long that was before, in nanoseconds.
    waited: AtomicU64,
    /// Until when that was.
    until: Stamp,
    /// All of it is here.
    ended: AtomicBool,
}

impl Upload {
    pub(super) const fn new() -> Self {
        Self {
            begun: Stamp::none(),
            waits: Stamp::none(),
            waited: AtomicU64::new(0),
            until: Stamp::none(),
            ended: AtomicBool::new(false),
        }
    }

    /// There is another request.
    pub(super) fn begin_anew(&self) {
        self.begun.end();
        self.waits.end();
        self.until.end();
        self.waited.store(0, Ordering::Relaxed);
        self.ended.store(false, Ordering::Relaxed);
    }

    /// The request has its place.
    pub(super) fn begin(&self, now: u64) {
        self.begun.begin(now);
    }

    /// Whether a part of it is waited for.
    pub(super) fn wait(&self, now: u64, pending: bool) {
        if pending {
            return self.waits.begin(now);
        }
        if self.waits.get() != Stamp::NONE {
            self.waited.store(self.waited_by(now), Ordering::Relaxed);
            self.until.set(now);
            self.waits.end();
        }
    }

    /// Since when it is; [`Stamp::NONE`] if it is not.
    pub(super) fn waits_since(&self) -> u64 {
        self.waits.get()
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether the client was waited for up to now, also where that has just ended: then nobody else was.
    pub(super) fn is_waited_for(&self, now: u64) -> bool {
        self.waits.get() != Stamp::NONE || (self.until.get() != Stamp::NONE && now <= self.until.get())
    }

    /// For how long the client was waited for.
    pub(super) fn waited_by(&self, now: u64) -> u64 {
        // None is later than any.
        self.waited.load(Ordering::Relaxed).saturating_add(now.saturating_sub(self.waits.get()))
    }

    /// Since when the request has its place; [`Stamp::NONE`] before it has one.
    pub(super) fn begun_at(&self) -> u64 {
        self.begun.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_the_clients_while_it_is_waited_for() {
        let upload = Upload::new();
        assert_eq!((upload.waited_by(5), upload.is_waited_for(5)), (0, false));
        upload.begin(10);
        upload.wait(10, true);
        upload.wait(12, true);
        assert_eq!((upload.waited_by(14), upload.is_waited_for(14)), (4, true), "it is waited for");
        upload.wait(15, false);
        assert!(upload.is_waited_for(15), "up to now");
        upload.wait(16, false);
        assert_eq!(
            (upload.waited_by(20), upload.is_waited_for(16)),
            (5, false),
            "the service does not take it"
        );
        upload.wait(20, true);
        upload.wait(21, false);
        upload.end();
        assert_eq!((upload.waited_by(30), upload.has_ended(), upload.begun_at()), (6, true, 10));
        upload.begin_anew();
        assert_eq!((upload.waited_by(40), upload.has_ended(), upload.is_waited_for(0)), (0, false, false));
        assert_eq!(upload.begun_at(), Stamp::NONE);
    }
}
