//! How fast a line drains.

use super::Histogram;

/// Over how many gaps their mean is taken.
const MEMORY: u64 = 64;
/// The longest is that of as many, and up to twice as many.
const WINDOW: u64 = 128;
/// The mean is kept in parts of a nanosecond, so that it follows small changes.
const PARTS: u64 = 256;
/// No gap counts for more: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// After so many times of service half are forgotten.
const SERVICES: u64 = 512;
/// What a service usually takes is looked up anew after so many.
const EACH: u64 = 16;
/// So many services take no longer than what is usual. In an overload all who wait are served just in time for this to suffice, so
/// that with the median half of the work would be for nothing.
const USUAL: f64 = 0.9;

/// Measures the gaps from one server being ready to the next, while none is idle: what comes out of them is the rate at which
/// all servers together drain the line.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain {
    /// Since when none has become ready; none while there may be no server at all.
    since: Option<u64>,
    mean: u64,
    seen: u64,
    /// The longest gap of this window and of the one before, and how many there were in this.
    longest: [u64; 2],
    in_window: u64,
    /// None until somebody tells.
    services: Option<Box<Histogram>>,
    usual: u64,
}

impl Drain {
    /// From now on all servers are busy.
    pub(super) const fn all_busy(&mut self, now: u64) {
        self.since = Some(now);
    }

    /// None is idle, since the last that was has left: whether there are others is not known.
    pub(super) const fn left(&mut self) {
        self.since = None;
    }

    /// A server is ready; none was idle.
    pub(super) fn ready(&mut self, now: u64) {
        let gap = self.running(now);
        // The first that ever comes has not been busy.
        if self.since.replace(now).is_none() {
            return;
        }
        self.seen = (self.seen + 1).min(MEMORY);
        let parts = gap * PARTS;
        if parts > self.mean {
            self.mean += (parts - self.mean) / self.seen;
        } else if parts < self.mean {
            self.mean -= (self.mean - parts) / self.seen;
        }
        if self.in_window == WINDOW {
            (self.longest, self.in_window) = ([0, self.longest[0]], 0);
        }
        self.longest[0] = self.longest[0].max(gap);
        self.in_window += 1;
    }

    /// The longest gap lately.
    pub(super) fn longest(&self) -> u64 {
        self.longest[0].max(self.longest[1])
    }

    /// It took so long to serve one.
    pub(super) fn served(&mut self, nanos: u64) {
        let services = self.services.get_or_insert_default();
        services.record(nanos);
        if services.count() >= SERVICES {
            services.halve();
        }
        if services.count().is_multiple_of(EACH) || services.count() < EACH {
            self.usual = services.quantile(USUAL).unwrap_or(0);
        }
    }

    /// What nine of ten services take no longer than. Zero if nobody has told.
    pub(super) const fn usual_service(&self) -> u64 {
        self.usual
    }

    /// The mean gap, in nanoseconds, as of now, when all are busy; none before the first. One that goes on for longer than usual
    /// counts already.
    pub(super) fn gap(&self, now: u64) -> Option<u64> {
        let running = self.running(now) * PARTS;
        let more = running.saturating_sub(self.mean) / (self.seen + 1).min(MEMORY);
        (self.seen > 0).then(|| (self.mean + more).div_ceil(PARTS))
    }

    /// When whoever has so many ahead of it will be served, in nanoseconds from now; zero if nothing is known.
    pub(super) fn wait(&self, ahead: u64, now: u64) -> u64 {
        let Some(gap) = self.gap(now) else { return 0 };
        let first = gap.saturating_sub(self.running(now));
        gap.saturating_mul(ahead).saturating_add(first)
    }

    /// When there will be room for certain if no gap is longer than the longest lately, and nobody at all if they are as usual.
    pub(super) fn empty(&self, waiting: u64, now: u64) -> Option<u64> {
        let longest = self.longest().max(self.running(now));
        Some(self.gap(now)?.saturating_mul(waiting).saturating_add(longest))
    }

    /// The gap that goes on.
    fn running(&self, now: u64) -> u64 {
        self.since.map_or(0, |since| now.saturating_sub(since)).min(LONGEST)
    }
}
