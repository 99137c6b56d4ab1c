//! What a queue tells of itself.

use std::time::Duration;

use super::{Histogram, Queue};

/// When to come back while nothing is known of how fast the line drains.
pub(super) const UNKNOWN: Duration = Duration::from_secs(1);
/// Nobody is told to stay away for longer.
pub(super) const MOST: Duration = Duration::from_secs(60);

impl<T> Queue<T> {
    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting.room.count
    }

    /// How many bytes wait.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        u64::try_from(self.waiting.room.bytes).unwrap_or(u64::MAX)
    }

    /// How many servers are idle.
    #[must_use]
    pub const fn idle(&self) -> usize {
        self.idle
    }

    /// How many servers leave as soon as they are ready.
    #[must_use]
    pub const fn leaving(&self) -> usize {
        self.leaving
    }

    /// How many may wait.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound.count
    }

    /// How long those waited who have started, those who did not have to among them.
    #[must_use]
    pub const fn waits(&self) -> &Histogram {
        &self.waits
    }

    /// Whether the line stands: never, without [`Codel`](super::Codel).
    #[must_use]
    pub fn is_overloaded(&self, now: u64) -> bool {
        let (now, waiting) = (now.max(self.now), self.waiting() > 0);
        self.standing.as_ref().is_some_and(|standing| standing.is_overloaded_at(now, waiting))
    }

    /// How long one of this class and key would wait who came now, by what is ahead of it and by how fast the line drained lately.
    /// Zero if nothing is known of that.
    #[must_use]
    pub fn expected_wait(&self, class: usize, key: u64, now: u64) -> Duration {
        let class = class.min(self.waiting.classes.len() - 1);
        Duration::from_nanos(self.expected(class, key, self.now.max(now)))
    }

    /// What nine of ten services took no longer than, lately. Zero if nobody has [told](Self::served).
    #[must_use]
    pub const fn usual_service(&self) -> Duration {
        Duration::from_nanos(self.drain.usual_service())
    }

    /// When who was turned away should come back: when all who wait now have been served, by how fast the line drained lately. If
    /// nobody else came, it then usually starts at once; and there is a place more, unless no server gets ready for longer than the
    /// longest such time lately. At most a minute, and a second while nothing is known; none after a close, which is for good.
    #[must_use]
    pub fn retry_after(&self, now: u64) -> Option<Duration> {
        if self.closed {
            return None;
        }
        if self.idle > 0 {
            return Some(Duration::ZERO);
        }
        let empty = self.drain.empty(self.waiting() as u64, self.now.max(now));
        Some(empty.map_or(UNKNOWN, Duration::from_nanos).min(MOST))
    }

    /// When there is somebody to [expire](Self::expire), as things stand.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.waiting.in_vain_first().map(|(_, instant, _)| instant.saturating_add(1))
    }
}
