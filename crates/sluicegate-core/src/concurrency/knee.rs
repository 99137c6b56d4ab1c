//! As many as the service works on at once, and hardly any that wait there.

mod pool;

use std::any::Any;

use super::algorithm::{Algorithm, Bounds, Next, Why, whole};
use super::window::Window;
use pool::{Pool, Slope, Way};

/// How many may wait in the service: this part of the limit, and one at least.
const QUEUE: f64 = 0.04;
/// The share of the limit above which it counts as kept full.
const FULL: f64 = 0.75;
/// The share of the limit above which there is no doubt that it was kept full, over the time or when requests begin. At random they begin
/// with a place more in flight than there are over the time; so only where they come in bursts does one say this and the other not.
const FOUND_FULL: f64 = 0.9;
/// How much longer the limit rests than it was looked for, once it is where it should be.
const REST: u32 = 6;
/// Requests of a dip for each place; twice as many in a window between dips.
const SAMPLES: u32 = 3;
/// After so many dips there is a decision, however little is known.
const PATIENCE: u32 = 8;

/// Below this, a first limit that is kept full is doubled before anything is known.
const SMALL: f64 = 100.0;

/// Below this, a dip by two is a large part of what the service does.
const FEW: f64 = 10.0;

/// Finds the **knee**: the number in flight from which on more of them only wait.
///
/// With fewer in flight than the knee each one more is one more that is worked on, and none takes longer. With more, each takes longer in
/// proportion, and no more are answered. So the same requests in flight and the same times can be many slow workers or one quick one with a
/// line before it; only another number in flight tells them apart. While the limit is kept full and requests are turned away,
/// windows of it alternate with **dips**, short windows with a few less; from the times in both,
///
/// `e = ln(time/time in the dip) / ln(in flight/in flight in the dip)`
///
/// is 0 below the knee and 1 above it, and the knee is at `limit (dip/limit)^e`. As many pairs of windows are put together as it takes to
/// tell, by the spread of the times, up to eight; then the limit becomes that, and a few more that may wait: a twenty-fifth, one at least.
/// If the knee is above, the limit grows. The steps double while they go one way, and become small once they turn. Once the limit is
/// where it should be, it rests for some windows, unless the times change.
///
/// Both windows of a pair are of the same moment, so it does not matter whether the service was quicker an hour ago, and there is nothing
/// that could drift. It can't be without dips: who never sends less than the knee can't know where it is. Where times vary much and
/// answers are few, a decision may be wrong; it moves the limit by a few hundredths, and the next one moves it back.
///
/// * **Dips** come after a window in which requests were [turned away](Window::turned_away) and at least three quarters of the limit were in
///   use on the average, and in the end reach from just above the knee to just below it: what they refuse beyond what the service
///   can't do anyway is that little, for that short. A load that is less than the service can do may bring a dip too, where so much
///   of it comes at once that some is turned away.
///   A dip keeps out as many as it is deep, and where the line is full as many more are turned away. So there is none before as many were
///   turned away without it, or some in each of eight windows: a burst that just overflows the line is left alone. A window in which nobody
///   is turned away takes half of that back, and two of those eight. A dip takes back as many as it keeps out; what has gone on for eight
///   windows needs no more of them.
/// * **Changes**: a window with other times than the one before at the same limit is partly of the service as it was. It is not compared.
///   If eight in a row differ, that is how its times are.
/// * **Growth**: at first, and after drops, the limit doubles each window for as long as nothing takes longer. Where it has doubled in
///   vain, it goes back to where the knee seems to be by those two windows.
/// * **Bursts**: if requests are refused but the limit is not kept full on the average, or if those refused wait and none of them is turned
///   away, it grows by one each window, up to twice the knee, or 8. What waits in the service then would have waited before it. If it is
///   kept full later while requests are turned away, and those in flight only wait for one another, all of that growth is undone at once;
///   where times vary too much to tell, or have changed since, dips undo it.
/// * **Not found out**: where bursts are turned away, but pauses keep the average below three quarters of the limit in each window, the
///   limit is not looked for. If it is high then, because the service was quicker once, it stays so until some window is full, or
///   requests are dropped. A lower one would lose work there: what waits in the service is worked on in the pause. Who would rather have
///   it turned away sets a `max`.
/// * **Pauses**: a window in which the limit was kept full, then nothing came, and requests were turned away changes nothing.
/// * **What was dropped** counts as time spent in vain; if half is dropped, the limit is halved with that window, and if all are, it is a quarter.
///
/// ```
/// use sluicegate_core::concurrency::{Concurrency, Knee, Settings};
///
/// let limits = Concurrency::new(Settings::default(), Knee::default());
/// assert_eq!(limits.limit(), 10);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Knee {
    limit: f64,
    /// Whether the knee may be anywhere: then steps are by half or twice the limit.
    far: bool,
    /// Times the usual step, while it is near.
    stride: f64,
    trend: Way,
    /// Whether the window that runs is a dip.
    dips: bool,
    /// What was seen at the limit and in dips since the last decision, and how many of those there were.
    high: Pool,
    low: Pool,
    pairs: u32,
    /// What was seen at a much lower limit just before: as good as a dip.
    before: Option<(u32, Pool)>,
    /// What was seen before the limit grew for bursts, and where it was.
    calmer: Option<(u32, Pool)>,
    /// Windows until the next dip, and how much longer to rest next time.
    rest: u32,
    calm: u32,
    /// The last window that was no dip, and its limit.
    usual: Option<(u32, Pool)>,
    /// Nanoseconds with as many in flight as the knee says.
    unhindered: Option<f64>,
    /// Where the knee was last time.
    knee: f64,
    /// In how many windows one after the other times were others than in the one before, at the same limit; dips are left out.
    changes: u32,
    /// What speaks for a dip, never more than one needs: in how many windows some were turned away, and how many that no dip has kept out since.
    busy: u32,
    away: u64,
}

impl Default for Knee {
    fn default() -> Self {
        Self {
            limit: 1.0,
            far: true,
            stride: 1.0,
            trend: Way::Still,
            dips: false,
            high: Pool::default(),
            low: Pool::default(),
            pairs: 0,
            before: None,
            calmer: None,
            rest: 0,
            calm: 0,
            usual: None,
            unhindered: None,
            knee: 0.0,
            changes: 0,
            busy: 0,
            away: 0,
        }
    }
}

impl Knee {
    /// How many may wait in the service.
    fn queue(&self) -> f64 {
        (self.limit * QUEUE).max(1.0)
    }

    /// How deep a dip is: twice what may wait, or more while the knee is far off; half at the most. It must be more than may wait, or it
    /// would never be seen whether fewer would do. Only where that was seen already, and places are few, one less shows whether it
    /// still holds.
    fn depth(&self) -> f64 {
        let half = (self.limit / 2.0).max(2.0);
        if self.far {
            half
        } else if self.calm > 0 && self.limit < FEW {
            1.0
        } else {
            (2.0 * self.queue() * self.stride).min(half)
        }
    }

    /// The next window is one at the limit.
    fn at_limit(&mut self, why: Why, bounds: Bounds) -> Next {
        self.limit = bounds.hold(self.limit);
        self.dips = false;
        let limit = whole(self.limit);
        Next::new(limit, limit.saturating_mul(2 * SAMPLES).clamp(40, 4000), why)
    }

    /// What was seen is of no use any more.
    fn forget(&mut self) {
        (self.high, self.low, self.pairs) = (Pool::default(), Pool::default(), 0);
    }

    /// The next window is a dip, if there is anything below the limit.
    fn dip(&mut self, bounds: Bounds) -> Option<Next> {
        let (level, limit) = self.dips_to(bounds)?;
        self.dips = true;
        self.away = self.away.saturating_sub((level - limit).into());
        let samples = limit.saturating_mul(SAMPLES).clamp(10, 1000);
        Some(Next { after: Some(level), ..Next::new(limit, samples, Why::Dip) })
    }

    /// The limit, and how many may be in flight in a dip from there, if that is less.
    fn dips_to(&self, bounds: Bounds) -> Option<(u32, u32)> {
        let level = whole(bounds.hold(self.limit));
        let limit = whole(bounds.hold((f64::from(level) - self.depth()).max(1.0)));
        (limit < level).then_some((level, limit))
    }

    /// How many a dip would keep out.
    fn deep(&self, bounds: Bounds) -> u64 {
        self.dips_to(bounds).map_or(0, |(level, limit)| (level - limit).into())
    }

    /// Whether a dip would keep out more than were turned away without it, and that might soon be over.
    fn may_pass(&self, bounds: Bounds) -> bool {
        self.away < self.deep(bounds) && self.busy < PATIENCE
    }

    /// So many were turned away in a window at the limit. One without any does not undo what was seen before: where load is just more
    /// than the service can do, the line is full in most windows, but not in all.
    fn gather(&mut self, away: u64, bounds: Bounds) {
        (self.away, self.busy) = match away {
            0 => (self.away / 2, self.busy.saturating_sub(2)),
            away => (self.away.saturating_add(away).min(self.deep(bounds)), (self.busy + 1).min(PATIENCE)),
        };
    }

    /// A window at the limit is over.
    fn leveled(&mut self, window: &Window, bounds: Bounds) -> Next {
        let level = Pool::of(window);
        self.gather(window.turned_away(), bounds);
        let usual = self.usual.replace((window.limit(), level)).filter(|(limit, _)| *limit == window.limit());
        if usual.is_some_and(|(_, usual)| level.differs(&usual)) {
            (self.rest, self.calm, self.calmer) = (0, 0, None);
            self.forget();
            self.changes = self.changes.saturating_add(1);
            if self.changes < PATIENCE && window.good() > 0 {
                // Some of it is of the service as it was: beside a dip into what it is now, it would tell of what has changed meanwhile.
                self.before = None;
                return self.at_limit(Why::Held, bounds);
            }
        } else {
            self.changes = 0;
        }
        let before = self.before.take();
        if window.refused() == 0 || window.most() < window.limit().div_ceil(2) {
            self.forget();
            return self.at_limit(Why::Held, bounds);
        }
        if window.used() < FULL {
            if window.turned_away() > 0 && window.place() > FOUND_FULL * f64::from(window.limit()) {
                // Nearly all who began took one of the last places, so it was kept full, and then there was a pause.
                return self.at_limit(Why::Held, bounds);
            }
            return self.make_room(window.limit(), level, bounds);
        }
        if window.turned_away() > 0
            && window.used() > FOUND_FULL
            && let Some((limit, calmer)) = self.calmer
            && limit < window.limit()
            && level.against(&calmer).is_some_and(|slope| !slope.may_grow())
        {
            // It is kept full now, so that was in vain: those it has grown for only wait.
            self.limit = limit.into();
            self.calmer = None;
            self.forget();
            return self.at_limit(Why::Waiting, bounds);
        }
        if let Some((limit, before)) = before
            && let Some(slope) = level.against(&before)
        {
            if slope.may_grow() {
                return self.grow(window.limit(), level, bounds);
            }
            (self.high, self.low) = (level, before);
            return self.decide(slope, Way::Down, limit, window.turned_away() > 0, bounds);
        }
        if self.knee == 0.0 && self.limit < SMALL && window.good() > 0 {
            // Whatever the first limit is, it is easier to see from above.
            return self.grow(window.limit(), level, bounds);
        }
        if window.turned_away() == 0 {
            // The service keeps up with those who wait.
            return self.make_room(window.limit(), level, bounds);
        }
        if self.rest > 0 {
            self.rest -= 1;
            return self.at_limit(Why::Held, bounds);
        }
        if self.may_pass(bounds) {
            return self.at_limit(Why::Held, bounds);
        }
        self.high.add(&level);
        if let Some(next) = self.dip(bounds) {
            return next;
        }
        if window.good() == 0 {
            return self.at_limit(Why::Held, bounds);
        }
        // With one in flight there is nothing less.
        self.grow(window.limit(), level, bounds)
    }

    /// One more, for bursts and so that nobody is turned away for a limit that is a little too low. Only who is turned away gains by a lower
    /// one: otherwise the same requests wait, here or there.
    fn make_room(&mut self, limit: u32, level: Pool, bounds: Bounds) -> Next {
        self.forget();
        let most = (2.0 * self.knee).max(8.0);
        if self.limit >= most {
            return self.at_limit(Why::Held, bounds);
        }
        self.calmer.get_or_insert((limit, level));
        (self.rest, self.calm) = (0, 0);
        self.limit = (self.limit + 1.0).min(most);
        self.at_limit(Why::Bursts, bounds)
    }

    /// All of the limit is below the knee.
    fn grow(&mut self, limit: u32, level: Pool, bounds: Bounds) -> Next {
        self.knee = self.limit;
        self.limit += if self.far { self.limit } else { self.queue() * self.stride };
        self.before = self.far.then_some((limit, level));
        self.calmer = None;
        self.forget();
        self.at_limit(Why::Room, bounds)
    }

    /// A dip is over.
    fn dipped(&mut self, window: &Window, bounds: Bounds) -> Next {
        self.low.add(&Pool::of(window));
        self.pairs += 1;
        // The others would have been turned away without it too.
        self.away = self.away.saturating_add(window.turned_away().saturating_sub(self.deep(bounds)));
        let Some(slope) = self.high.against(&self.low) else { return self.at_limit(Why::DipOver, bounds) };
        let doubt = (1.0 - f64::from(self.pairs) / f64::from(PATIENCE)).max(0.0);
        let Some(way) = slope.way(self.far, doubt) else { return self.at_limit(Why::DipOver, bounds) };
        self.decide(slope, way, window.limit(), true, bounds)
    }

    /// Where the knee is, from what was seen at the limit and at a lower one. Where that is far off, a dip may follow at once.
    fn decide(&mut self, slope: Slope, way: Way, less: u32, may_dip: bool, bounds: Bounds) -> Next {
        let from = self.limit;
        self.calmer = None;
        self.knee = from * (f64::from(less) / from).powf(slope.waits());
        self.unhindered = self.high.spent().map(|nanos| nanos * self.knee / from);
        if way == Way::Still || way != self.trend {
            let near = way == Way::Still || self.trend != Way::Still;
            // The knee is between a half and the whole: the next dips are a quarter, an eighth, and so on.
            self.stride =
                if self.far && near { self.limit / 8.0 / self.queue() } else { self.stride / 2.0 }.max(1.0);
            self.far &= !near;
        } else if !self.far {
            self.stride *= 2.0;
            self.far = self.queue() * self.stride * 4.0 > self.limit && self.stride > 4.0;
        }
        self.trend = way;
        if way == Way::Up {
            (self.rest, self.calm) = (0, 0);
            return self.grow(whole(from), self.high, bounds);
        }
        self.limit = self.knee + (self.knee * QUEUE).max(1.0);
        let (low, pairs) = (self.low, self.pairs);
        self.forget();
        let why = if whole(bounds.hold(self.limit)) < whole(from) { Why::Waiting } else { Why::DipOver };
        let next = self.at_limit(why, bounds);
        let settled = whole(self.limit) == whole(from);
        if self.far && !settled && may_dip && !self.may_pass(bounds) {
            // The dip was where the limit is now, so the next one follows at once.
            self.high = low;
            return self.dip(bounds).map_or(next, |dip| Next { why, ..dip });
        }
        if settled {
            (self.far, self.trend) = (false, Way::Still);
        }
        self.calm = if settled { (self.calm * 2).clamp(1, REST) } else { 0 };
        self.rest = self.calm * pairs;
        next
    }
}

impl Algorithm for Knee {
    fn first(&mut self, bounds: Bounds) -> Next {
        self.limit = bounds.first.into();
        self.at_limit(Why::First, bounds)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        if window.dropped() > 0 && window.lost() >= 0.5 {
            self.limit = f64::from(window.limit()) * (1.0 - window.lost()).max(0.25);
            (self.far, self.trend, self.rest, self.calm) = (true, Way::Still, 0, 0);
            (self.before, self.calmer) = (None, None);
            self.forget();
            return self.at_limit(Why::Drops, bounds);
        }
        if self.dips { self.dipped(window, bounds) } else { self.leveled(window, bounds) }
    }

    fn unhindered(&self) -> Option<f64> {
        self.unhindered
    }

    fn is_same_as(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
