use super::*;
use crate::bucket::Carry;

const MILLI: u64 = 1_000_000;

/// A bucket, its state, and a line before it.
struct Rig {
    bucket: Bucket,
    state: State,
    line: Line<&'static str>,
}

impl Rig {
    fn new(quota: &str) -> Self {
        let bucket = Bucket::new(quota.parse().unwrap());
        Self { bucket, state: bucket.start(), line: Line::new(100) }
    }

    fn take(&mut self, n: u64, now: u64) -> bool {
        let (decision, state) = self.bucket.take(self.state, n, now);
        self.state = state;
        decision.is_granted()
    }

    fn join(&mut self, n: u64, claim: Claim, name: &'static str, now: u64) -> Ticket {
        self.line.agree(&self.bucket, self.state);
        let booked = self.bucket.book(self.state, n, now).unwrap();
        self.state = booked.state;
        self.line.push(&booked, n, claim, name)
    }

    fn wait(&mut self, n: u64, name: &'static str, now: u64) -> Ticket {
        self.join(n, Claim::Take { until: u64::MAX }, name, now)
    }

    fn leave(&mut self, ticket: Ticket, n: u64, now: u64) {
        let (_, units) = self.line.remove(&self.bucket, ticket, now).unwrap();
        assert_eq!(units, self.bucket.units_of(n));
        self.give_back(units, now);
    }

    fn give_back(&mut self, units: u64, now: u64) {
        self.state = self.bucket.unbook(self.state, units, now);
        self.line.agree(&self.bucket, self.state);
    }

    fn put(&mut self, n: u64, now: u64) {
        self.state = self.bucket.put(self.state, n, now).1;
        self.line.agree(&self.bucket, self.state);
    }

    fn due(&self, ticket: Ticket) -> Option<u64> {
        self.line.due_at(&self.bucket, ticket)
    }

    fn served(&mut self, now: u64) -> Vec<&'static str> {
        std::iter::from_fn(|| self.line.pop_due(&self.bucket, now)).map(|(_, name)| name).collect()
    }

    fn change(&mut self, quota: &str, carry: Carry, now: u64) -> Vec<(&'static str, Decision)> {
        let to = Bucket::new(quota.parse().unwrap());
        let changed = self.line.replan(&self.bucket, &to, self.state, now, carry);
        (self.bucket, self.state) = (to, changed.state);
        changed.left.into_iter().map(|left| (left.item, left.decision)).collect()
    }
}

use crate::decision::Decision;

#[test]
fn first_come_first_served_whatever_they_want() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    let (large, small) = (rig.wait(10, "large", 0), rig.wait(1, "small", 0));
    assert!(!rig.take(1, 999 * MILLI), "who comes later does not get ahead");
    assert_eq!((rig.due(large), rig.due(small)), (Some(1000 * MILLI), Some(1100 * MILLI)));
    assert_eq!(rig.served(999 * MILLI), Vec::<&str>::new());
    assert_eq!(rig.served(1099 * MILLI), ["large"]);
    assert_eq!(rig.served(1100 * MILLI), ["small"]);
    assert!(!rig.take(1, 1199 * MILLI) && rig.take(1, 1200 * MILLI), "served late costs nothing");
}

#[test]
fn who_leaves_moves_up_those_behind_and_only_those() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    let [a, b, c] = [("a", 2), ("b", 5), ("c", 1)].map(|(name, n)| rig.wait(n, name, 0));
    rig.leave(b, 5, 100 * MILLI);
    assert_eq!((rig.due(a), rig.due(b), rig.due(c)), (Some(200 * MILLI), None, Some(300 * MILLI)));
    rig.leave(a, 2, 150 * MILLI);
    assert_eq!(rig.due(c), Some(100 * MILLI), "as if the others had never come");
    assert_eq!(rig.served(150 * MILLI), ["c"]);
    assert_eq!(rig.bucket.balance(rig.state, 150 * MILLI), 0);
}

#[test]
fn what_is_put_serves_the_first_and_the_rest_fills_the_bucket() {
    let mut rig = Rig::new("stock 0 max 4");
    let [a, b] = [("a", 3), ("b", 4)].map(|(name, n)| rig.wait(n, name, 0));
    assert_eq!((rig.due(a), rig.line.next_at(&rig.bucket)), (None, None));
    rig.put(5, 7);
    assert_eq!((rig.served(7), rig.due(b)), (vec!["a"], None));
    let (fits, _) = rig.bucket.put(rig.state, 100, 7);
    assert_eq!(fits, 6, "two for who waits, four for the bucket");
    rig.put(100, 7);
    assert_eq!((rig.served(7), rig.bucket.available(rig.state, 7)), (vec!["b"], 4));
}

#[test]
fn a_debt_stands_behind_those_who_wait_and_before_those_who_come() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    let first = rig.wait(1, "first", 0);
    rig.state = rig.bucket.owe(rig.state, 4, 0);
    rig.line.owe(&rig.bucket, rig.state);
    let second = rig.wait(1, "second", 0);
    assert_eq!((rig.due(first), rig.due(second)), (Some(100 * MILLI), Some(600 * MILLI)));
    rig.put(2, 0);
    assert_eq!(rig.due(second), Some(400 * MILLI), "the first is served now");
    assert_eq!(rig.served(0), ["first"]);
    rig.leave(second, 1, 0);
    assert_eq!(rig.bucket.balance(rig.state, 0), -3);
}

#[test]
fn a_place_that_wants_less_moves_up_those_behind_alone() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    let [a, b, c] = [("a", 1), ("b", 5), ("c", 1)].map(|(name, n)| rig.wait(n, name, 0));
    let units = rig.line.lighten(&rig.bucket, b, 3, 0).unwrap();
    rig.give_back(units, 0);
    assert_eq!([a, b, c].map(|one| rig.due(one)), [100, 300, 400].map(|at| Some(at * MILLI)));
}

#[test]
fn a_slower_quota_makes_takes_later_and_keeps_reservations() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    let take = rig.wait(2, "take", 0);
    let kept = rig.join(1, Claim::Reservation, "kept", 0);
    let late = rig.join(1, Claim::Take { until: 400 * MILLI }, "late", 0);
    let wide = rig.wait(9, "wide", 0);
    assert_eq!(
        [take, kept, late, wide].map(|one| rig.due(one)),
        [200, 300, 400, 1300].map(|at| Some(at * MILLI))
    );

    let gone = rig.change("1/s burst 5", Carry::Keep, 0);
    assert!(matches!(gone[0], ("late", Decision::Later { .. })), "{gone:?}");
    assert!(matches!(gone[1], ("wide", Decision::Never { limit: 5, .. })), "{gone:?}");
    assert_eq!((rig.due(kept), rig.due(take)), (Some(300 * MILLI), Some(3000 * MILLI)));
    assert_eq!((rig.served(299 * MILLI).len(), rig.served(300 * MILLI)), (0, vec!["kept"]));
    assert_eq!(rig.bucket.balance(rig.state, 300 * MILLI), -3, "what was promised is owed");
    assert_eq!(rig.served(3000 * MILLI), ["take"]);
}

#[test]
fn a_faster_quota_makes_all_earlier_in_the_same_order() {
    let mut rig = Rig::new("1/s burst 5");
    assert!(rig.take(5, 0));
    let take = rig.wait(2, "take", 0);
    let kept = rig.join(1, Claim::Reservation, "kept", 0);
    assert!(rig.change("10/s", Carry::Keep, 1000 * MILLI).is_empty());
    assert_eq!((rig.due(take), rig.due(kept)), (Some(1100 * MILLI), Some(1200 * MILLI)));
    assert!(rig.change("unlimited", Carry::Keep, 1000 * MILLI).is_empty());
    assert_eq!(rig.served(1000 * MILLI), ["take", "kept"]);
}

#[test]
fn a_ban_turns_takes_away_and_keeps_what_was_promised() {
    let mut rig = Rig::new("10/s");
    assert!(rig.take(10, 0));
    rig.wait(2, "take", 0);
    rig.join(1, Claim::Reservation, "kept", 0);
    let gone = rig.change("ban", Carry::Keep, 100 * MILLI);
    assert!(matches!(gone[..], [("take", Decision::Never { .. })]), "{gone:?}");
    assert_eq!((rig.served(299 * MILLI).len(), rig.served(300 * MILLI)), (0, vec!["kept"]));
}

#[test]
fn a_change_carries_tokens_as_it_is_told() {
    for (carry, to, has) in [
        (Carry::Keep, "100/s", 5),
        (Carry::Keep, "1/s burst 3", 3),
        (Carry::Proportional, "100/s", 50),
        (Carry::Proportional, "1/s burst 3", 1),
        (Carry::Reset, "100/s initial 70", 70),
        (Carry::Reset, "unlimited", u64::MAX),
    ] {
        let mut rig = Rig::new("10/s");
        assert!(rig.take(5, 0));
        rig.change(to, carry, 0);
        assert_eq!(rig.bucket.available(rig.state, 0), has, "{carry:?} to {to}");
    }
}

#[test]
fn a_line_is_bounded() {
    let mut rig = Rig::new("10/s");
    rig.line.set_bound(1);
    assert!(rig.take(10, 0) && rig.line.has_room());
    let first = rig.wait(1, "first", 0);
    assert!(!rig.line.has_room());
    rig.leave(first, 1, 0);
    assert!(rig.line.has_room());
}

#[test]
fn what_flowed_for_more_than_the_bucket_holds_is_not_for_those_behind() {
    for settled in [false, true] {
        let mut rig = Rig::new("10/s");
        assert!(rig.take(10, 0));
        let large = rig.join(50, Claim::Reservation, "large", 0);
        let names = ["a", "b", "c"];
        for name in names {
            rig.wait(10, name, 0);
        }
        // 40 tokens have flowed, and the bucket holds 10.
        let now = 4000 * MILLI;
        assert_eq!(rig.served(now).len(), 0);
        let units = if settled {
            rig.line.lighten(&rig.bucket, large, 50, now).unwrap()
        } else {
            rig.line.remove(&rig.bucket, large, now).unwrap().1
        };
        rig.give_back(units, now);
        let served = rig.served(now);
        assert_eq!(served.into_iter().filter(|name| *name != "large").collect::<Vec<_>>(), ["a"]);
        assert_eq!(rig.bucket.balance(rig.state, now), -20);
        assert_eq!((rig.served(now + 999 * MILLI).len(), rig.served(now + 1000 * MILLI)), (0, vec!["b"]));
    }
}

#[test]
fn a_promise_that_a_quota_can_never_grant_has_booked_nothing_and_gives_nothing_back() {
    for settled in [false, true] {
        let mut rig = Rig::new("1000/s");
        assert!(rig.take(1000, 0));
        let large = rig.join(10_000, Claim::Reservation, "large", 0);
        // In nine years less than 10 000 flow.
        assert!(rig.change("1/d burst 5", Carry::Keep, 0).is_empty());
        let first = rig.wait(5, "first", 0);
        let due = rig.due(first);
        let units = if settled {
            rig.line.lighten(&rig.bucket, large, 9_000, 0).unwrap()
        } else {
            rig.line.remove(&rig.bucket, large, 0).unwrap().1
        };
        rig.give_back(units, 0);
        assert_eq!((units, rig.due(first)), (0, due));
        assert_eq!(rig.bucket.balance(rig.state, 0), -5);
    }
}
