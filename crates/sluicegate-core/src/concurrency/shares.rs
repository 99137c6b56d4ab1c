//! Who may have how many of the places.

/// For how long a place is kept for who wanted it: this span and the one before. Nanoseconds.
const SPAN: u64 = 1_000_000_000;
/// Shares are counted in these parts of all.
pub(super) const ALL: u64 = 1_000_000;

/// The places of all partitions.
///
/// A partition's guarantee is its share of the limit, rounded down. Within that, it is refused only if there is no place at all. Beyond it,
/// it may have what is left after what the others *need*: as many as they have wanted at once lately, at most their guarantee. So the
/// share of who asks for nothing is lent, and comes back as requests end: no later than all that are in flight.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    /// The last one is everybody else's, without a guarantee.
    parts: Vec<Part>,
    /// Which span of all time wants are counted in.
    span: u64,
    in_flight: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Of all parts.
    share: u64,
    in_flight: u32,
    /// The most that were wanted at once in this span and the one before.
    wanted: [u32; 2],
}

impl Part {
    fn guarantee(self, limit: u32) -> u32 {
        u32::try_from(u64::from(limit) * self.share / ALL).unwrap_or(limit)
    }

    /// How many places are to be kept for it.
    fn kept(self, limit: u32) -> u32 {
        let needs = self.wanted[0].max(self.wanted[1]).min(self.guarantee(limit));
        needs.saturating_sub(self.in_flight)
    }
}

impl Shares {
    pub(super) fn new(shares: &[u64]) -> Self {
        let mut parts: Vec<_> = shares.iter().map(|&share| Part { share, ..Part::default() }).collect();
        parts.push(Part::default());
        Self { parts, span: 0, in_flight: 0 }
    }

    pub(super) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// A partition by its number; beyond those with a share it is everybody else's.
    pub(super) fn place(&self, partition: usize) -> usize {
        partition.min(self.parts.len() - 1)
    }

    pub(super) fn of(&self, partition: usize) -> u32 {
        self.parts[self.place(partition)].in_flight
    }

    pub(super) fn guarantee(&self, partition: usize, limit: u32) -> u32 {
        self.parts[self.place(partition)].guarantee(limit)
    }

    /// Takes a place, if there is one for this partition. O(partitions).
    pub(super) fn take(&mut self, partition: usize, limit: u32, now: u64) -> Result<(), super::Refusal> {
        self.turn(now);
        let place = self.place(partition);
        let part = &mut self.parts[place];
        part.wanted[0] = part.wanted[0].max(part.in_flight.saturating_add(1));
        if self.in_flight >= limit {
            return Err(super::Refusal::Limit);
        }
        if part.in_flight >= part.guarantee(limit) && limit - self.in_flight <= self.kept_from(place, limit) {
            return Err(super::Refusal::Share);
        }
        self.parts[place].in_flight += 1;
        self.in_flight += 1;
        Ok(())
    }

    /// How many places are kept for others than this one.
    fn kept_from(&self, place: usize, limit: u32) -> u32 {
        let others = self.parts.iter().enumerate().filter(|(other, _)| *other != place);
        others.map(|(_, part)| part.kept(limit)).sum()
    }

    /// How many places it could take now, one after the other. O(partitions).
    pub(super) fn room(&mut self, partition: usize, limit: u32, now: u64) -> u32 {
        let free = limit.saturating_sub(self.in_flight);
        if self.parts.len() == 1 {
            return free;
        }
        self.turn(now);
        let place = self.place(partition);
        let own = self.parts[place].guarantee(limit).saturating_sub(self.parts[place].in_flight);
        free.min(own.max(free.saturating_sub(self.kept_from(place, limit))))
    }

    /// When it is next forgotten what was wanted too long ago. Never, without shares.
    pub(super) fn forgets_at(&self) -> Option<u64> {
        (self.parts.len() > 1).then(|| (self.span + 1).saturating_mul(SPAN))
    }

    /// So many of a partition are in flight that nobody began here.
    pub(super) fn carry(&mut self, partition: usize, in_flight: u32) {
        let place = self.place(partition);
        self.parts[place].in_flight = self.parts[place].in_flight.saturating_add(in_flight);
        self.in_flight = self.in_flight.saturating_add(in_flight);
    }

    pub(super) fn partitions(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn give_back(&mut self, partition: usize) {
        let place = self.place(partition);
        let part = &mut self.parts[place];
        part.in_flight = part.in_flight.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Forgets what was wanted too long ago. A clock that steps back forgets nothing.
    fn turn(&mut self, now: u64) {
        let span = now / SPAN;
        if span <= self.span {
            return;
        }
        for part in &mut self.parts {
            let before = if span == self.span + 1 { part.wanted[0] } else { 0 };
            part.wanted = [0, before];
        }
        self.span = span;
    }
}
