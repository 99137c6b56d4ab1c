//! How much there was lately.

/// Parts of the window. What it leaves out is at most one of them.
const PARTS: usize = 8;

/// A sum over the last while: never over more than that, and over 7/8 of it at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    parts: [u64; PARTS],
    /// Which part of all time the newest is.
    newest: u64,
    /// Nanoseconds of one, at least 1.
    width: u64,
}

impl Window {
    /// Of so many nanoseconds.
    pub(super) const fn new(length: u64) -> Self {
        let width = length / PARTS as u64;
        Self { parts: [0; PARTS], newest: 0, width: if width == 0 { 1 } else { width } }
    }

    pub(super) fn add(&mut self, n: u64, now: u64) {
        let place = self.turn(now);
        self.parts[place] = self.parts[place].saturating_add(n);
    }

    /// Takes so many away again, the newest first.
    pub(super) fn forget(&mut self, n: u64) {
        let (mut left, newest) = (n, self.newest);
        for back in 0..PARTS as u64 {
            let part = &mut self.parts[place(newest.wrapping_sub(back))];
            let some = left.min(*part);
            *part -= some;
            left -= some;
        }
    }

    pub(super) fn sum(&mut self, now: u64) -> u64 {
        self.turn(now);
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// Forgets the parts that are over; where the newest is comes back.
    fn turn(&mut self, now: u64) -> usize {
        let newest = (now / self.width).max(self.newest);
        for part in self.newest + 1..=newest.min(self.newest + PARTS as u64) {
            self.parts[place(part)] = 0;
        }
        self.newest = newest;
        place(newest)
    }
}

fn place(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or(0)
}
