//! Tokens taken in advance from a bucket that is far away, and spent here: how many to take, when, and when to give them back.
//!
//! A [`Lease`] is one instance's part of one bucket. Its size follows demand: what lies here unused after a request to the bucket is at
//! most **half of what was spent here in the last lifetime**. So who spends nothing holds nothing, and whoever spends at a
//! steady rate asks about four times in a lifetime, however high the rate is. What is not spent within a lifetime L, or lies
//! idle for a quarter of it, goes back.
//!
//! # Why that keeps to the quota
//! With any number of instances, each doing so, at most C + q·(t + L)/I tokens are spent in any span of t: no more than if
//! every token were spent up to L later than it was taken. The argument: let M be all tokens there are at an instant, in the bucket
//! and in leases. What lies in leases was taken in the last L, when it was at most half of what had been spent in the L before; so it is
//! at most half of what was spent in the last 2·L, which is called u. With what the bucket holds, M ≤ C + u/2. And since 2·L ago,
//! q·2·L/I came at most and u went: M ≤ M' + q·2·L/I - u, with M' as it was then. Both together: 3·(M - C) ≤ (M' - C) + q·2·L/I. It begins
//! with M ≤ C, so M - C ≤ q·L/I always. Whatever is spent in a span was there at its beginning or came within it. What is given
//! back is then nothing new: without that rule, tokens that are taken, lie for a lifetime, are given back and taken by
//! somebody else would pile up without a bound, and could be spent at one instant.
//!
//! For that, a lease's tokens are spendable for 7/8 of the lifetime, and the last eighth is for giving them back. Where that takes
//! longer, half of the difference is to be added to L. Of a quota in steps there may be one and a half of them more.
//!
//! In the long run nothing is minted and, but for a crash, nothing is lost.
//!
//! Longer than other files: what is held, who waits for it and what is known of the bucket change together.

#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::nanos;
use crate::decision::Decision;
use crate::quota::{Quota, Refill};
use window::Window;

/// A place in the line for tokens that are not here. Tickets of one lease are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The tokens were here, and are spent. Or it is known that they are nowhere, or never will be.
    Decided(Decision),
    /// They have to be fetched: what comes of that is in [`Told`].
    Wait(Ticket),
    /// The bucket could not be asked a moment ago: nothing is decided here.
    Pass,
}

/// What has come of requests that waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In the order they came; none is for the lease to say of those.
    pub decided: Vec<(Ticket, Option<Decision>)>,
}

/// What to do next with the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take so many tokens, all or none, and [tell](Lease::granted) what came of it. Nothing else comes before.
    Take(u64),
    /// Put so many back. They are no longer here, whatever comes of it; not to be tried again, or they could be put twice.
    Put(u64),
}

/// The machine, for one key of one quota. Time is nanoseconds on any one clock; one that steps back is taken to stand still.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::lease::{Ask, Lease, Step};
/// use sluicegate_core::{bucket::Bucket, quota::Quota};
///
/// let quota: Quota = "1000/s".parse()?;
/// let (bucket, mut lease) = (Bucket::new(quota), Lease::new(quota, Duration::from_secs(1)));
/// let (mut state, mut asked) = (bucket.start(), 0);
/// for now in 0..200 {
///     let Ask::Wait(_) = lease.ask(1, now) else { continue };
///     while let Some(Step::Take(n)) = lease.step(now) {
///         asked += 1;
///         let (decision, next) = bucket.take(state, n, now);
///         state = next;
///         assert_eq!(lease.granted(decision, now).decided.len(), 1);
///     }
/// }
/// assert!(asked < 20, "{asked} for 200 requests that came at once");
/// assert!(lease.held() <= 100, "half of what was spent");
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    quota: Quota,
    /// Nanoseconds.
    lifetime: u64,
    /// What is here, the oldest first, and all of it together.
    batches: VecDeque<Batch>,
    held: u64,
    /// What was spent in the last lifetime, and when something was last.
    spent: Window,
    last_spent: u64,
    /// Below this, more is fetched though nobody waits.
    low: u64,
    /// What may lie here after the last fetch.
    most: u64,
    /// Who waits, and for how many tokens all together.
    line: VecDeque<(Ticket, u64)>,
    waits: u64,
    tickets: u64,
    /// What is under way.
    fetch: Option<Fetch>,
    denied: Option<Denied>,
    /// Until when the bucket is not asked, since it could not be.
    quiet_until: u64,
    /// What is to be given back.
    back: u64,
    store: Standing,
    now: u64,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    tokens: u64,
    /// From then on it is not spent any more.
    until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Fetch {
    tokens: u64,
    /// When it was begun: the tokens are no older.
    since: u64,
}

/// So many tokens are not there until an instant.
#[derive(Clone, Copy, Debug)]
struct Denied {
    tokens: u64,
    until: u64,
}

/// So many tokens are there in so many nanoseconds, if nobody comes.
#[derive(Clone, Copy, Debug)]
struct Known {
    tokens: u64,
    wait: u64,
}

#[derive(Clone, Copy, Debug)]
enum Round {
    Down,
    Up,
}

/// What the bucket told last.
#[derive(Clone, Copy, Debug)]
struct Standing {
    remaining: u64,
    reset_after: Option<Duration>,
    at: u64,
}

/// Whether tokens of this quota are taken in advance: those that flow. A stock's may be needed elsewhere, and never come back
/// by themselves.
#[must_use]
pub const fn is_leased(quota: &Quota) -> bool {
    matches!(quota.refill(), Refill::Smooth { .. } | Refill::Stepped { .. })
}

impl Lease {
    /// A lease that holds nothing.
    #[must_use]
    pub fn new(quota: Quota, lifetime: Duration) -> Self {
        let lifetime = nanos(lifetime).max(8);
        Self {
            quota,
            lifetime,
            batches: VecDeque::new(),
            held: 0,
            spent: Window::new(lifetime),
            last_spent: 0,
            low: 0,
            most: 0,
            line: VecDeque::new(),
            waits: 0,
            tickets: 0,
            fetch: None,
            denied: None,
            quiet_until: 0,
            back: 0,
            store: Standing { remaining: quota.capacity(), reset_after: None, at: 0 },
            now: 0,
        }
    }

    /// The quota.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Unspent tokens that are here.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Asks for `n` tokens, all or none. After this there may be a [step](Self::step) to make.
    pub fn ask(&mut self, n: u64, now: u64) -> Ask {
        let now = self.arrive(now);
        if let Some(decision) = self.known(n, now) {
            if decision.is_granted() {
                self.spend(n, now);
                return Ask::Decided(self.standing(now));
            }
            return Ask::Decided(decision);
        }
        if now < self.quiet_until {
            return Ask::Pass;
        }
        self.tickets += 1;
        self.line.push_back((Ticket(self.tickets), n));
        self.waits = self.waits.saturating_add(n);
        Ask::Wait(Ticket(self.tickets))
    }

    /// What [`ask`](Self::ask) would decide, if it would: nothing changes.
    pub fn peek(&mut self, n: u64, now: u64) -> Option<Decision> {
        let now = self.arrive(now);
        self.known(n, now)
    }

    /// Takes as many as are here, at most `n`.
    pub fn take_up_to(&mut self, n: u64, now: u64) -> u64 {
        let now = self.arrive(now);
        let n = if self.line.is_empty() { n.min(self.held) } else { 0 };
        self.spend(n, now);
        n
    }

    /// Who waits leaves. Those behind may be served.
    pub fn leave(&mut self, ticket: Ticket, now: u64) -> Told {
        let now = self.arrive(now);
        if let Some(place) = self.line.iter().position(|(waiting, _)| *waiting == ticket)
            && let Some((_, n)) = self.line.remove(place)
        {
            self.waits = self.waits.saturating_sub(n);
        }
        self.serve(now)
    }

    /// Tokens that were spent, and not used after all, are here again: for those who wait, for the next who asks, or to be given
    /// back.
    pub fn undo(&mut self, n: u64, now: u64) -> Told {
        let now = self.arrive(now);
        self.spent.forget(n);
        match self.batches.back_mut() {
            Some(batch) => {
                batch.tokens += n;
                self.held += n;
            }
            // How old they are is not known any more.
            None => self.back += n,
        }
        let told = self.serve(now);
        self.trim();
        told
    }

    /// So many tokens were granted by the bucket itself, and used: demand, too.
    pub fn used(&mut self, n: u64, now: u64) {
        let now = self.arrive(now);
        self.spent.add(n, now);
        self.last_spent = now;
    }

    /// The bucket has decided something else for this key, and said how it stands now.
    pub fn heard(&mut self, decision: Decision, now: u64) -> Told {
        let now = self.arrive(now);
        let mut told = Told::default();
        self.hear(decision, self.when_full(decision), now, &mut told);
        told
    }

    /// So many tokens were put into the bucket: what was spent was no demand, and what was denied may be there.
    pub fn put(&mut self, n: u64) {
        self.spent.forget(n);
        self.denied = None;
        self.store.remaining = self.store.remaining.saturating_add(n).min(self.quota.capacity());
    }

    /// What is to be done now with the bucket, if anything. `Take` stands until it is known what came of it.
    pub fn step(&mut self, now: u64) -> Option<Step> {
        let now = self.arrive(now);
        if self.held > 0 && now - self.last_spent >= self.lifetime / 4 {
            self.give_all();
        }
        if self.back > 0 {
            return Some(Step::Put(std::mem::take(&mut self.back)));
        }
        if self.fetch.is_some() {
            return None;
        }
        let tokens = self.plan(now)?;
        self.fetch = Some(Fetch { tokens, since: now });
        Some(Step::Take(tokens))
    }

    /// Whether there may be a step to make now: cheap enough for each request.
    #[must_use]
    pub fn has_step(&self) -> bool {
        let is_denied = || self.denied.is_some_and(|denied| denied.tokens <= 1 && self.now < denied.until);
        let wants =
            !self.line.is_empty() || (self.held < self.low && !is_denied() && self.now >= self.quiet_until);
        self.back > 0 || (self.fetch.is_none() && wants)
    }

    /// The bucket has granted what it was asked for.
    pub fn granted(&mut self, decision: Decision, now: u64) -> Told {
        let now = self.arrive(now);
        let Some(fetch) = self.fetch.take() else { return Told::default() };
        self.hold(Batch { tokens: fetch.tokens, until: fetch.since.saturating_add(self.lifetime / 8 * 7) });
        // What came too late is not spent.
        self.arrive(now);
        // Who is served now is told how the bucket stands now.
        self.note(decision, now);
        let mut told = self.serve(now);
        let known =
            decision.reset_after().map(|full| Known { tokens: self.quota.capacity(), wait: nanos(full) });
        self.hear(decision, known, now, &mut told);
        self.trim();
        told
    }

    /// The bucket has refused. Who asked for what is not there is told so; what is there is fetched next.
    pub fn refused(&mut self, decision: Decision, now: u64) -> Told {
        let now = self.arrive(now);
        let Some(fetch) = self.fetch.take() else { return Told::default() };
        let Decision::Later { retry_after: Some(wait), .. } = decision else { return self.pass(now) };
        let mut told = Told::default();
        let known = Known { tokens: fetch.tokens, wait: nanos(wait) };
        self.hear(decision, Some(known), now, &mut told);
        told
    }

    /// The bucket has said how much is left, and perhaps when there is more. Who asked for more is told so, one after the other,
    /// as if each had asked by itself; those behind may be served.
    fn hear(&mut self, decision: Decision, known: Option<Known>, now: u64, told: &mut Told) {
        let there = decision.remaining();
        self.note(decision, now);
        self.denied = None;
        let Some(known) = known.filter(|_| there < self.quota.capacity()) else { return };
        let until = now.saturating_add(self.wait_for(there + 1, there, known));
        self.denied = Some(Denied { tokens: there + 1, until });
        // How many those who come before need, less what is here.
        let mut before = -i128::from(self.held);
        for (ticket, n) in std::mem::take(&mut self.line) {
            let missing = before + i128::from(n);
            if missing <= i128::from(there) {
                before = missing;
                self.line.push_back((ticket, n));
                continue;
            }
            self.waits = self.waits.saturating_sub(n);
            let wait = self.wait_for(u64::try_from(missing).unwrap_or(u64::MAX), there, known);
            told.decided.push((ticket, Some(self.later(Duration::from_nanos(wait), now))));
        }
        told.decided.extend(self.serve(now).decided);
    }

    /// How the bucket stands.
    fn note(&mut self, decision: Decision, now: u64) {
        self.store =
            Standing { remaining: decision.remaining(), reset_after: decision.reset_after(), at: now };
    }

    fn when_full(&self, decision: Decision) -> Option<Known> {
        decision.reset_after().map(|full| Known { tokens: self.quota.capacity(), wait: nanos(full) })
    }

    /// How long it is until there are so many tokens, from what is known of another number, and what is `there` now.
    fn wait_for(&self, tokens: u64, there: u64, known: Known) -> u64 {
        if tokens <= known.tokens {
            known.wait.saturating_sub(self.flow_time(tokens, known.tokens, there, Round::Down))
        } else {
            known.wait.saturating_add(self.flow_time(known.tokens, tokens, known.tokens, Round::Up))
        }
    }

    /// The bucket has no answer, or somebody else's. Who waits is told that nothing is decided here; for an eighth of a lifetime
    /// it is not asked again.
    pub fn failed(&mut self, now: u64) -> Told {
        let now = self.arrive(now);
        self.pass(now)
    }

    /// Tokens that were spent long ago, and not used after all, go back to the bucket.
    pub fn returned(&mut self, n: u64) {
        self.spent.forget(n);
        self.back += n;
    }

    /// Another quota: what is here goes back, and demand is to be seen anew.
    pub fn change(&mut self, quota: Quota) {
        self.empty();
        self.quota = quota;
        self.denied = None;
        self.store = Standing { remaining: quota.capacity(), reset_after: None, at: self.now };
    }

    /// Whether something is to go back now. To be asked a few times in a lifetime.
    pub fn is_due(&mut self, now: u64) -> bool {
        let now = self.arrive(now);
        self.back > 0 || (self.held > 0 && now - self.last_spent >= self.lifetime / 4)
    }

    /// Everything is given back, also what is still to come of a call under way, and who waits is told that nothing is decided
    /// here.
    pub fn end(&mut self) -> Told {
        self.empty();
        self.dismiss()
    }

    /// Who waits is told that nothing is decided here. What is held stays, and so does a call under way.
    pub fn dismiss(&mut self) -> Told {
        self.waits = 0;
        Told { decided: self.line.drain(..).map(|(ticket, _)| (ticket, None)).collect() }
    }

    /// The tokens that are here are nobody's: the bucket begins anew.
    pub fn discard(&mut self) {
        self.empty();
        self.back = 0;
        self.denied = None;
    }

    /// Whether there is nothing to remember.
    pub fn is_unused(&mut self, now: u64) -> bool {
        let now = self.arrive(now);
        self.held == 0
            && self.back == 0
            && self.line.is_empty()
            && self.fetch.is_none()
            && self.denied.is_none_or(|denied| denied.until <= now)
            && self.spent.sum(now) == 0
    }

    /// What can be said without asking: a grant of what is here, or a refusal that still holds.
    fn known(&self, n: u64, now: u64) -> Option<Decision> {
        let limit = self.quota.capacity();
        if n == 0 || (n <= self.held && self.line.is_empty()) {
            return Some(self.standing(now));
        }
        if n > limit {
            return Some(Decision::Never { limit, remaining: self.held, reset_after: None });
        }
        let denied = self.denied.filter(|denied| now < denied.until)?;
        // Who waits comes before.
        let missing = self.waits.saturating_add(n).saturating_sub(self.held);
        if missing < denied.tokens {
            return None;
        }
        let more = self.flow_time(denied.tokens, missing, denied.tokens, Round::Up);
        Some(self.later(Duration::from_nanos((denied.until - now).saturating_add(more)), now))
    }

    fn later(&self, wait: Duration, now: u64) -> Decision {
        let standing = self.standing(now);
        Decision::Later {
            retry_after: Some(wait),
            limit: standing.limit(),
            remaining: standing.remaining(),
            reset_after: standing.reset_after(),
        }
    }

    /// How the limit stands, as far as is known here: what the bucket told last, and what is held.
    fn standing(&self, now: u64) -> Decision {
        let limit = self.quota.capacity();
        let remaining = self.store.remaining.saturating_add(self.held).min(limit);
        let since = Duration::from_nanos(now.saturating_sub(self.store.at));
        let reset_after = self.store.reset_after.map(|after| after.saturating_sub(since));
        Decision::Granted { limit, remaining, reset_after }
    }

    /// How many tokens to fetch, if any.
    fn plan(&mut self, now: u64) -> Option<u64> {
        if now < self.quiet_until {
            return None;
        }
        let most = self.spent.sum(now) / 2;
        self.low = most / 2;
        // Not for those who may come, where nobody has come lately.
        if self.line.is_empty() && (self.held >= self.low || now - self.last_spent >= self.lifetime / 8) {
            return None;
        }
        self.most = most;
        let wanted = self.waits.saturating_sub(self.held);
        // Beside what is waited for, no more than half of what there probably is then.
        let rest = self.waits.saturating_add(most).saturating_sub(self.held).saturating_sub(wanted);
        let tokens = wanted.saturating_add(rest.min(self.estimate(now).saturating_sub(wanted) / 2));
        let tokens = tokens.min(self.quota.capacity());
        let denied = self.denied.filter(|denied| now < denied.until);
        let tokens = denied.map_or(tokens, |denied| tokens.min(denied.tokens - 1));
        // What is known may be from before something went back. And who is first has no use for a part: it would lie here in
        // vain, go back, and be fetched again, for ever.
        let first = self.line.front().map_or(0, |(_, n)| n.saturating_sub(self.held));
        let tokens = tokens.max(first);
        (tokens > 0).then_some(tokens)
    }

    /// How many tokens the bucket has if nobody else took any since it told: all, if it never did.
    fn estimate(&self, now: u64) -> u64 {
        let (Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval }) =
            self.quota.refill()
        else {
            return self.store.remaining;
        };
        let since = u128::from(now - self.store.at);
        let flowed = since * u128::from(tokens) / u128::from(interval.get());
        let flowed = u64::try_from(flowed).unwrap_or(u64::MAX);
        self.store.remaining.saturating_add(flowed).min(self.quota.capacity())
    }

    /// The time in which so many tokens flow that there are `to` where there would have been `from`; of a quota in steps, if there
    /// are so many now. A retry must never be told too early: so down where it is subtracted, and up where it is added.
    fn flow_time(&self, from: u64, to: u64, there: u64, round: Round) -> u64 {
        match self.quota.refill() {
            Refill::Smooth { tokens, interval } => {
                let product = u128::from(to.saturating_sub(from)) * u128::from(interval.get());
                let time = match round {
                    Round::Down => product / u128::from(tokens),
                    Round::Up => product.div_ceil(u128::from(tokens)),
                };
                u64::try_from(time).unwrap_or(u64::MAX)
            }
            Refill::Stepped { tokens, interval } => {
                let steps = |n: u64| n.saturating_sub(there).div_ceil(tokens);
                steps(to).saturating_sub(steps(from)).saturating_mul(interval.get())
            }
            _ => 0,
        }
    }

    /// Those who are next in line get what is here.
    fn serve(&mut self, now: u64) -> Told {
        let mut told = Told::default();
        while let Some((ticket, n)) = self.line.front().copied().filter(|(_, n)| *n <= self.held) {
            self.line.pop_front();
            self.waits = self.waits.saturating_sub(n);
            self.spend(n, now);
            told.decided.push((ticket, Some(self.standing(now))));
        }
        told
    }

    fn hold(&mut self, batch: Batch) {
        self.held += batch.tokens;
        if self.batches.len() < 4 {
            self.batches.push_back(batch);
        } else if let Some(last) = self.batches.back_mut() {
            // As old as the older ones.
            last.tokens += batch.tokens;
        }
    }

    fn spend(&mut self, n: u64, now: u64) {
        let mut left = n;
        while let Some(first) = self.batches.front_mut().filter(|_| left > 0) {
            let part = first.tokens.min(left);
            first.tokens -= part;
            left -= part;
            if first.tokens == 0 {
                self.batches.pop_front();
            }
        }
        self.held -= n - left;
        if n > 0 {
            self.spent.add(n, now);
            self.last_spent = now;
        }
    }

    /// More lies here than may: who was to spend it has left.
    fn trim(&mut self) {
        if !self.line.is_empty() {
            return;
        }
        let mut excess = self.held.saturating_sub(self.most);
        while let Some(last) = self.batches.back_mut().filter(|_| excess > 0) {
            let part = last.tokens.min(excess);
            last.tokens -= part;
            excess -= part;
            self.held -= part;
            self.back += part;
            if last.tokens == 0 {
                self.batches.pop_back();
            }
        }
    }

    fn give_all(&mut self) {
        self.batches.clear();
        self.back += std::mem::take(&mut self.held);
    }

    fn pass(&mut self, now: u64) -> Told {
        self.fetch = None;
        self.quiet_until = now.saturating_add(self.lifetime / 8);
        self.dismiss()
    }

    /// Nothing lies here, and nothing may: the demand is forgotten.
    fn empty(&mut self) {
        self.give_all();
        self.spent = Window::new(self.lifetime);
        (self.low, self.most) = (0, 0);
    }

    /// Time goes on, and what is too old is not spent any more.
    fn arrive(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        while let Some(first) = self.batches.front().filter(|batch| batch.until <= self.now) {
            self.held -= first.tokens;
            self.back += first.tokens;
            self.batches.pop_front();
        }
        self.now
    }
}
