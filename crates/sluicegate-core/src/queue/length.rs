//! Who would wait too long; and how long a line may be, in what a service takes.

use super::{Entry, Queue, Refusal, Settings};

/// At the least, in nanoseconds: a burst of services that take next to nothing is no line.
const LEAST: u64 = 5_000_000;
/// While nobody has told what a service takes.
const UNKNOWN: u64 = 50_000_000;

/// For how long who comes may have to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    /// Thousandths of a service; none if it does not matter.
    thousandths: Option<u64>,
    /// Nanoseconds, or that it is not known yet. None if nobody has told.
    service: Option<Option<u64>>,
}

impl Length {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self { thousandths: settings.services, service: None }
    }

    /// What was told of a service still holds.
    pub(super) const fn apply(&mut self, settings: &Settings) {
        self.thousandths = settings.services;
    }

    pub(super) const fn tell(&mut self, service: Option<u64>) {
        self.service = Some(service);
    }

    pub(super) const fn forget(&mut self) {
        self.service = None;
    }

    /// In nanoseconds, where a service is `usual`, or 0 if that isn't known; none if it does not matter.
    fn most(self, usual: u64) -> Option<u64> {
        let thousandths = self.thousandths?;
        let of = |service: u64| (u128::from(service) * u128::from(thousandths) / 1000).max(LEAST.into());
        let service = self.service.unwrap_or((usual > 0).then_some(usual));
        Some(service.map_or(UNKNOWN, |service| u64::try_from(of(service)).unwrap_or(u64::MAX)))
    }
}

impl<T> Queue<T> {
    /// A service takes so many nanoseconds if it is not in the way of others, or that is not known yet. For lines whose length is
    /// [measured in services](Settings::with_wait_of); from now on that goes by this, and not by what was [served](Self::served).
    pub const fn set_service(&mut self, nanos: Option<u64>) {
        self.length.tell(nanos);
    }

    /// Nobody [tells](Self::set_service) any more: the length goes by what was [served](Self::served) again.
    pub const fn forget_service(&mut self) {
        self.length.forget();
    }

    /// Whether it would begin, or be done, too late if it came now.
    pub(super) fn would_be_late(&self, entry: &Entry<T>) -> Option<Refusal> {
        let most = self.length.most(self.drain.usual_service());
        if entry.deadline.min(entry.begun_by) == u64::MAX && most.is_none() {
            return None;
        }
        let wait = self.expected(entry.class, entry.key, self.now);
        let begins = self.now.saturating_add(wait);
        if begins.saturating_add(self.drain.usual_service()) > entry.deadline {
            return Some(Refusal::Hopeless);
        }
        let is_too_long = begins > entry.begun_by || most.is_some_and(|most| wait > most);
        is_too_long.then_some(Refusal::TooLong)
    }
}
