//! A peer's way to find the limit out, as a model of what is published of it: the least time is measured now and then, with few let in.

use sluicegate_core::concurrency::{Algorithm, Bounds, Next, Why, Window};

/// How many are let in while the least time is measured, over how many requests, and after how many windows it is measured anew: with
/// windows of a tenth of a second and as long as their last requests take, that is about a minute.
const FEW: u32 = 3;
const REQUESTS: u32 = 50;
const WINDOWS: u32 = 400;
/// So many windows at the least limit, and it is measured at once.
const LOW: u32 = 5;
/// A time that is longer than the least one by this part is as good.
const BUFFER: f64 = 0.25;
const MOST_SAMPLES: u32 = 1_000_000;

/// Envoy's gradient controller as its documentation describes it: `limit = limit g + sqrt(limit)`, `g = 1.25 least / sampled`, between 0.5
/// and 2. With means where that has medians, and without its jitter.
#[derive(Clone, Debug, Default)]
pub struct Probing {
    limit: f64,
    /// Nanoseconds; none before the first was measured.
    least: Option<f64>,
    measures: bool,
    windows: u32,
    low: u32,
}

impl Probing {
    const fn probe(&mut self) -> Next {
        (self.measures, self.windows, self.low) = (true, 0, 0);
        Next::new(FEW, REQUESTS, Why::Dip)
    }

    fn goes_on(&self, bounds: Bounds, why: Why) -> Next {
        Next::new(bounds.hold(self.limit.floor()) as u32, MOST_SAMPLES, why)
    }
}

impl Algorithm for Probing {
    fn first(&mut self, bounds: Bounds) -> Next {
        self.limit = bounds.first.into();
        self.probe()
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        let Some(took) = window.took() else { return self.goes_on(bounds, Why::Held) };
        if std::mem::take(&mut self.measures) {
            self.least = Some(took);
            return self.goes_on(bounds, Why::DipOver);
        }
        self.windows += 1;
        let least = self.least.unwrap_or(took);
        let gradient = (least * (1.0 + BUFFER) / took).clamp(0.5, 2.0);
        self.limit = bounds.hold(self.limit * gradient + self.limit.sqrt()).max(FEW.into());
        self.low = if self.limit <= f64::from(FEW) { self.low + 1 } else { 0 };
        if self.windows >= WINDOWS || self.low >= LOW {
            return self.probe();
        }
        self.goes_on(bounds, if gradient < 1.0 { Why::Waiting } else { Why::Room })
    }
}
