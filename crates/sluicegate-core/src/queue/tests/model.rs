//! The same policies by looking at everybody each time, on a plain list.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod ops;

use ops::{Op, ops, settings};

#[derive(Clone, Debug)]
struct One {
    entry: Entry<usize>,
    since: u64,
}

/// What the queue should do, done the long way.
struct Plain {
    settings: Settings,
    idle: usize,
    leaving: usize,
    /// In order of arrival.
    line: Vec<One>,
    returned: Vec<Entry<usize>>,
    /// Whose turn it is, in each class, first to last.
    turns: Vec<Vec<u64>>,
    pass: Vec<u128>,
    virtual_time: u128,
    overloaded: bool,
    /// Of this interval of an overload, or since there was none: what servers found and when, and how many were shed.
    waits: Vec<(u64, u64)>,
    end: u64,
    sloughed: usize,
    now: u64,
    /// What a service usually takes.
    usual: u64,
    shed: Vec<(usize, Refusal)>,
}

/// Why who waits in vain does.
const fn first_over(entry: &Entry<usize>) -> Refusal {
    if entry.deadline <= entry.begun_by { Refusal::Late } else { Refusal::TooLong }
}

impl Plain {
    fn new(settings: &Settings) -> Self {
        Self {
            idle: 0,
            leaving: 0,
            line: Vec::new(),
            returned: Vec::new(),
            turns: vec![Vec::new(); settings.classes.len()],
            pass: vec![0; settings.classes.len()],
            virtual_time: 0,
            overloaded: false,
            end: 0,
            waits: Vec::new(),
            sloughed: 0,
            now: 0,
            usual: 0,
            shed: Vec::new(),
            settings: settings.clone(),
        }
    }

    /// Keys are one where nobody tells them apart.
    fn kind(&self, entry: &Entry<usize>) -> (usize, u64) {
        (entry.class, if self.settings.fair { entry.key } else { 0 })
    }

    fn expire(&mut self) {
        let now = self.now;
        let late = |entry: &Entry<usize>| entry.deadline.min(entry.begun_by) < now;
        let gone = self.line.iter().map(|one| &one.entry).chain(&self.returned).filter(|entry| late(entry));
        self.shed.extend(gone.map(|entry| (entry.item, first_over(entry))));
        self.line.retain(|one| !late(&one.entry));
        self.returned.retain(|entry| !late(entry));
        self.tidy();
    }

    /// Who has nobody waiting has no turn.
    fn tidy(&mut self) {
        for class in 0..self.turns.len() {
            let wanting: BTreeSet<u64> = self
                .line
                .iter()
                .map(|one| self.kind(&one.entry))
                .filter(|k| k.0 == class)
                .map(|k| k.1)
                .collect();
            self.turns[class].retain(|key| wanting.contains(key));
        }
    }

    fn sample(&mut self, wait: u64) {
        let Some(codel) = self.settings.codel else { return };
        if self.overloaded && self.now >= self.end {
            let nobody = self.waits.iter().filter(|(_, wait)| *wait == 0).count();
            let still = 20 * nobody <= self.waits.len() || 2 * self.sloughed > self.waits.len();
            let quiet = self.now >= self.end + codel.interval && wait == 0;
            self.overloaded = still && !quiet;
            self.end = self.now + codel.interval;
            (self.waits, self.sloughed) = (Vec::new(), 0);
        }
        self.waits.push((self.now, wait));
        let stands = self.waits.iter().rev().take_while(|(_, wait)| *wait > codel.target).last();
        if !self.overloaded && stands.is_some_and(|(since, _)| 2 * (self.now - since) >= 3 * codel.interval) {
            self.overloaded = true;
            self.end = self.now + codel.interval;
            (self.waits, self.sloughed) = (vec![(self.now, wait)], 0);
        }
    }

    fn fits(&self, line: &[One], new: &Entry<usize>) -> bool {
        let sizes = line.iter().map(|one| one.entry.size).chain(self.returned.iter().map(|entry| entry.size));
        line.len() + self.returned.len() < self.settings.bound
            && sizes.sum::<u64>() + new.size <= self.settings.bytes
    }

    /// Who is to go so that this one may wait.
    fn make_room(&self, new: &Entry<usize>) -> Option<Vec<usize>> {
        let (mut line, mut gone) = (self.line.clone(), Vec::new());
        while !self.fits(&line, new) {
            if new.size > self.settings.bytes {
                return None;
            }
            let all = || line.iter().map(|one| &one.entry).chain([new]);
            let share = |of: &dyn Fn((usize, u64)) -> bool| {
                let sizes: Vec<u64> = all().filter(|one| of(self.kind(one))).map(|one| one.size).collect();
                let by_bytes = u128::from(sizes.iter().sum::<u64>()) * self.settings.bound as u128;
                (sizes.len() as u128 * u128::from(self.settings.bytes)).max(by_bytes)
            };
            let classes = 0..self.settings.classes.len();
            let of_class = |class| share(&|kind| kind.0 == class) / u128::from(self.settings.classes[class]);
            let class = classes.max_by_key(|&class| (of_class(class), class == new.class)).unwrap();
            let kinds = all().map(|one| self.kind(one)).filter(|kind| kind.0 == class);
            let own = self.kind(new);
            let kind = kinds.max_by_key(|&kind| (share(&|one| one == kind), kind == own, kind.1)).unwrap();
            if kind == own && !self.settings.displaces_oldest {
                return None;
            }
            let mut of_kind = line.iter().map(|one| &one.entry).filter(|one| self.kind(one) == kind);
            let victim =
                if self.settings.displaces_oldest { of_kind.next() } else { of_kind.next_back() }?.item;
            line.retain(|one| one.entry.item != victim);
            gone.push(victim);
        }
        Some(gone)
    }

    /// None if it waits now.
    fn offer(&mut self, new: Entry<usize>, expected: u64) -> Option<Result<(), Refusal>> {
        self.expire();
        if new.deadline < self.now {
            return Some(Err(Refusal::Late));
        }
        if new.begun_by < self.now {
            return Some(Err(Refusal::TooLong));
        }
        if self.idle > 0 {
            self.idle -= 1;
            self.sample(0);
            return Some(Ok(()));
        }
        if self.now + expected + self.usual > new.deadline {
            return Some(Err(Refusal::Hopeless));
        }
        if self.now + expected > new.begun_by {
            return Some(Err(Refusal::TooLong));
        }
        let Some(gone) = self.make_room(&new) else {
            let too_large = new.size > self.settings.bytes;
            return Some(Err(if too_large { Refusal::TooLarge } else { Refusal::Full }));
        };
        self.line.retain(|one| !gone.contains(&one.entry.item));
        self.shed.extend(gone.into_iter().map(|item| (item, Refusal::Displaced)));
        self.tidy();
        let (class, key) = self.kind(&new);
        if self.line.iter().all(|one| one.entry.class != class) {
            self.pass[class] = self.pass[class].max(self.virtual_time);
        }
        if !self.turns[class].contains(&key) {
            self.turns[class].push(key);
        }
        self.line.push(One { entry: new, since: self.now });
        None
    }

    fn next(&mut self) -> Option<usize> {
        self.expire();
        self.sample(self.line.first().map_or(0, |one| self.now - one.since));
        let codel = self.settings.codel.filter(|_| self.overloaded);
        if let Some(codel) = codel {
            while self.line.len() + self.returned.len() > 1
                && self.line.first().is_some_and(|one| self.now - one.since > codel.most)
            {
                let one = self.line.remove(0);
                self.shed.push((one.entry.item, Refusal::Overloaded));
                self.sloughed += 1;
            }
            self.tidy();
        }
        self.drop_hopeless();
        if !self.returned.is_empty() {
            return Some(self.returned.remove(0).item);
        }
        let wanting = (0..self.turns.len()).filter(|&class| !self.turns[class].is_empty());
        let class = wanting.min_by_key(|&class| self.pass[class])?;
        self.virtual_time = self.pass[class];
        self.pass[class] += (1 << 40) / u128::from(self.settings.classes[class]);
        let key = self.turns[class].remove(0);
        self.turns[class].push(key);
        let places = (0..self.line.len()).filter(|&at| self.kind(&self.line[at].entry) == (class, key));
        let at = if codel.is_some_and(|codel| codel.newest_first) { places.max() } else { places.min() };
        let one = self.line.remove(at.unwrap());
        self.tidy();
        Some(one.entry.item)
    }

    /// Who has least time goes first.
    fn drop_hopeless(&mut self) {
        loop {
            let all = self.line.iter().map(|one| &one.entry).chain(&self.returned);
            let Some(first) = all.min_by_key(|entry| (entry.deadline, entry.item)) else { return };
            if first.deadline >= self.now + self.usual || self.line.len() + self.returned.len() == 1 {
                return;
            }
            let item = first.item;
            self.shed.push((item, Refusal::Hopeless));
            self.line.retain(|one| one.entry.item != item);
            self.returned.retain(|entry| entry.item != item);
            self.tidy();
        }
    }

    fn ready(&mut self) -> Option<usize> {
        if self.leaving > 0 {
            self.leaving -= 1;
            return None;
        }
        let next = self.next();
        self.idle += usize::from(next.is_none());
        next
    }

    fn cancel(&mut self, item: usize) -> bool {
        let before = self.line.len();
        self.line.retain(|one| one.entry.item != item);
        self.tidy();
        self.line.len() < before
    }
}

proptest! {
    /// Order, exact bounds, nobody waiting beside an idle server, and each item out once.
    #[test]
    fn does_what_a_plain_list_does(settings in settings(), ops in ops()) {
        let (mut queue, mut plain) = (Queue::with(&settings, 0), Plain::new(&settings));
        let (mut tickets, mut inside, mut started) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (item, (op, passes)) in ops.into_iter().enumerate() {
            let mut shed = Vec::new();
            plain.now += passes * MS;
            let (now, before) = (plain.now, queue.waiting());
            match op {
                Op::Offer { size, key, class, within, begin } => {
                    // No two are the same, so that it is clear who goes first.
                    let deadline = within.map_or(u64::MAX, |within| now + within * MS + item as u64);
                    let begun_by = begin.map_or(u64::MAX, |begin| now + begin * MS);
                    let entry = Entry::new(item).sized(size).keyed(key).in_class(class);
                    let entry = entry.until(deadline).begun_by(begun_by);
                    // Who is late leaves first.
                    queue.expire(now, &mut shed);
                    let expected = nanos(queue.expected_wait(class, key, now));
                    let told = queue.offer(entry.clone(), now, &mut shed);
                    let entry = entry.in_class(class.min(settings.classes.len() - 1));
                    match (plain.offer(entry, expected), told) {
                        (None, Offer::Wait(ticket)) => {
                            tickets.push((ticket, item));
                            inside.insert(item);
                            prop_assert!(queue.waiting() <= queue.bound());
                            prop_assert!(queue.waiting_bytes() <= settings.bytes);
                        }
                        (Some(Ok(())), Offer::Start(it)) => prop_assert_eq!(it, item),
                        (Some(Err(why)), Offer::Refused(it, told)) => prop_assert_eq!((it, told), (item, why)),
                        (plain, told) => prop_assert!(false, "{:?} {:?}", plain, told),
                    }
                }
                Op::Ready => {
                    let next = queue.ready(now, &mut shed);
                    prop_assert_eq!(next, plain.ready());
                    started.extend(next);
                    prop_assert!(next.is_none_or(|item| inside.remove(&item)));
                }
                Op::Leave => {
                    prop_assert_eq!(queue.leave(), plain.idle > 0);
                    plain.idle = plain.idle.saturating_sub(1);
                }
                Op::Join(servers) => {
                    let stay = servers.min(plain.leaving);
                    plain.leaving -= stay;
                    let next: Vec<_> = (stay..servers).map_while(|_| plain.next()).collect();
                    plain.idle += servers - stay - next.len();
                    let told = queue.join(servers, now, &mut shed);
                    prop_assert!(told.iter().all(|item| inside.remove(item)));
                    prop_assert_eq!(told, next);
                }
                Op::Withdraw(servers) => {
                    let idle = servers.min(plain.idle);
                    plain.idle -= idle;
                    plain.leaving += servers - idle;
                    queue.withdraw(servers);
                }
                Op::Cancel(back) => {
                    let Some(&(ticket, item)) = tickets.iter().rev().nth(back) else { continue };
                    let told = queue.cancel(ticket);
                    prop_assert_eq!(told.is_some(), plain.cancel(item));
                    prop_assert!(told.is_none_or(|told| told == item && inside.remove(&item)));
                }
                Op::ComeBack => {
                    let Some(item) = started.pop() else { continue };
                    let entry = Entry::new(item).sized(7);
                    let told = queue.come_back(entry.clone());
                    if plain.idle > 0 {
                        plain.idle -= 1;
                        prop_assert_eq!(told, Some(item));
                    } else {
                        prop_assert_eq!(told, None);
                        plain.returned.insert(0, entry);
                        inside.insert(item);
                    }
                }
                Op::Served(millis) => {
                    queue.served(millis * MS);
                    plain.usual = nanos(queue.usual_service());
                }
                Op::Expire => {
                    queue.expire(now, &mut shed);
                    plain.expire();
                    prop_assert!(queue.next_expiry().is_none_or(|at| at > now));
                }
            }
            for one in &shed {
                prop_assert!(inside.remove(&one.item), "{} came out twice", one.item);
            }
            let (mut told, mut right) = (items(&shed), std::mem::take(&mut plain.shed));
            told.sort_by_key(|one| one.0);
            right.sort_by_key(|one| one.0);
            prop_assert_eq!(told, right);
            prop_assert_eq!((queue.idle(), queue.leaving()), (plain.idle, plain.leaving));
            prop_assert_eq!(queue.waiting(), inside.len(), "before: {}", before);
            prop_assert!(queue.idle() == 0 || queue.waiting() == 0);
        }
        // The rest comes out too.
        queue.close();
        let mut shed = Vec::new();
        let now = plain.now;
        for _ in 0..queue.leaving() {
            queue.ready(now, &mut shed);
        }
        while let Some(item) = queue.ready(now, &mut shed) {
            prop_assert!(inside.remove(&item));
        }
        prop_assert!(queue.idle() > 0 && shed.iter().all(|one| inside.remove(&one.item)) && inside.is_empty());
        prop_assert_eq!((queue.waiting(), queue.waiting_bytes()), (0, 0));
    }
}
