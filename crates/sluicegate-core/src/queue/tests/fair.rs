//! Keys that take turns, classes with weights, and who gives way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn who_sends_little_does_not_wait_for_who_sends_much() {
    let mut queue = Queue::<(u64, u64)>::with(&Settings::new(1000).fair(), 0);
    for n in 0..500 {
        queue.joins(Entry::new((1, n)).keyed(1));
    }
    for n in 0..3 {
        queue.joins(Entry::new((2, n)).keyed(2));
    }
    let first: Vec<_> = (0..8).map(|_| queue.ready_now().unwrap()).collect();
    assert_eq!(first, [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (1, 4)]);
}

#[test]
fn who_has_filled_the_queue_gives_way_until_all_have_as_much() {
    for (oldest, gone) in [(false, [9, 8, 7, 6, 5]), (true, [0, 1, 2, 3, 4])] {
        let mut settings = Settings::new(10).fair();
        settings.displaces_oldest = oldest;
        let (mut queue, mut shed) = (Queue::with(&settings, 0), Vec::new());
        for n in 0..10 {
            queue.joins(Entry::new((1, n)).keyed(1));
        }
        for n in 0..5 {
            let came = Entry::new((2, n)).keyed(2);
            assert!(matches!(queue.offer(came, 0, &mut shed), Offer::Wait(_)));
        }
        assert_eq!(items(&shed), gone.map(|n| ((1, n), Refusal::Displaced)));
        shed.clear();
        let told = queue.offer(Entry::new((2, 5)).keyed(2), 0, &mut shed);
        if oldest {
            assert!(matches!(told, Offer::Wait(_)), "in place of its own");
            assert_eq!(items(&shed), [((2, 0), Refusal::Displaced)]);
        } else {
            assert_eq!(told, Offer::Refused((2, 5), Refusal::Full));
        }
    }
}

#[test]
fn a_class_gets_room_by_its_weight() {
    let settings = Settings::new(9).with_classes(&[2, 1]).unwrap();
    let (mut queue, mut shed) = (Queue::with(&settings, 0), Vec::new());
    for n in 0..9 {
        queue.joins(Entry::new((1, n)).in_class(1));
    }
    assert_eq!(queue.offer_now(Entry::new((1, 9)).in_class(1)), Offer::Refused((1, 9), Refusal::Full));
    for n in 0..6 {
        assert!(matches!(queue.offer((0, n), 0, &mut shed), Offer::Wait(_)));
    }
    assert_eq!(shed.len(), 6);
    assert_eq!(queue.offer_now((0, 6)), Offer::Refused((0, 6), Refusal::Full));
    assert_eq!(queue.offer_now(Entry::new((7, 0)).in_class(7)), Offer::Refused((7, 0), Refusal::Full));
    let order: Vec<_> = (0..9).map(|_| queue.ready_now().unwrap().0).collect();
    assert_eq!(order, [0, 1, 0, 0, 1, 0, 0, 1, 0]);
}

#[test]
fn many_keys_take_no_more_memory_than_wait() {
    let (mut queue, mut shed) = (Queue::<u64>::with(&Settings::new(64).fair(), 0), Vec::new());
    for key in 0..10_000 {
        queue.offer(Entry::new(key).keyed(key), 0, &mut shed);
    }
    assert_eq!(queue.waiting.classes[0].flows(), 64);
    assert_eq!(shed.len(), 0, "all have one, so who comes is refused");
}

/// A crowd of clients comes and goes in all classes.
fn crowd() -> impl Strategy<Value = Vec<(u8, u64, usize)>> {
    prop::collection::vec((0_u8..10, 0_u64..5, 0_usize..3), 1..500)
}

proptest! {
    /// Over any time in which two keys of a class both wait, neither starts two more than the other.
    #[test]
    fn keys_take_turns(crowd in crowd()) {
        let (mut queue, shed) = (Queue::with(&Settings::new(40).fair(), 0), &mut Vec::new());
        let (mut tickets, mut waiting) = (Vec::new(), [0_i64; 5]);
        // For each pair: how many more the one has started since both wait, and the least and the most that was.
        let mut leads = BTreeMap::<(usize, usize), (i64, i64, i64)>::new();
        for (op, key, _) in crowd {
            match op {
                0..5 => if let Offer::Wait(ticket) = queue.offer(Entry::new(key as usize).keyed(key), 0, shed) {
                    tickets.push(ticket);
                    waiting[key as usize] += 1;
                },
                5 => if let Some(key) = tickets.pop().and_then(|ticket| queue.cancel(ticket)) {
                    waiting[key] -= 1;
                },
                _ if queue.waiting() == 0 => {}
                _ => {
                    let one = queue.ready(0, shed).unwrap();
                    for (&(a, b), (lead, least, most)) in &mut leads {
                        *lead += i64::from(a == one) - i64::from(b == one);
                        (*least, *most) = ((*least).min(*lead), (*most).max(*lead));
                        prop_assert!(*most - *least <= 1, "{} and {}", a, b);
                    }
                    waiting[one] -= 1;
                }
            }
            shed.drain(..).for_each(|one: Shed<usize>| waiting[one.item] -= 1);
            for a in 0..5 {
                for b in 0..a {
                    if waiting[a] > 0 && waiting[b] > 0 {
                        leads.entry((a, b)).or_default();
                    } else {
                        leads.remove(&(a, b));
                    }
                }
            }
        }
    }

    /// A class that waits gets its share of any number of starts in a row, less what the documentation says.
    #[test]
    fn no_class_starves(crowd in crowd(), weights in prop::collection::vec(1_u32..=20, 3)) {
        let settings = Settings::new(40).with_classes(&weights).unwrap();
        let (mut queue, shed) = (Queue::with(&settings, 0), &mut Vec::new());
        let (all, classes) = (f64::from(weights.iter().sum::<u32>()), 3.0);
        let mut waiting = [0_i64; 3];
        // Since it waits: what it has got beyond its share of all starts, and the most that was.
        let mut ahead = [(0.0_f64, 0.0_f64); 3];
        // Starts of others since it waits, or since its last.
        let mut others = [0_u32; 3];
        for (op, _, class) in crowd {
            if op < 6 {
                if let Offer::Wait(_) = queue.offer(Entry::new(class).in_class(class), 0, shed) {
                    waiting[class] += 1;
                }
            } else if queue.waiting() > 0 {
                let one = queue.ready(0, shed).unwrap();
                for class in 0..3 {
                    let share = f64::from(weights[class]) / all;
                    let (has, most) = &mut ahead[class];
                    *has += if class == one { 1.0 } else { 0.0 } - share;
                    *most = most.max(*has);
                    others[class] = if class == one { 0 } else { others[class] + 1 };
                    if waiting[class] > 0 {
                        prop_assert!(*has - *most >= -(classes - 1.0) * share - 1.0 - 1e-9);
                        prop_assert!(others[class] < weights.iter().sum::<u32>() / weights[class] + 3);
                    }
                }
                waiting[one] -= 1;
            }
            shed.drain(..).for_each(|one: Shed<usize>| waiting[one.item] -= 1);
            (0..3).filter(|&class| waiting[class] == 0).for_each(|class| (ahead[class], others[class]) = ((0.0, 0.0), 0));
        }
    }
}
