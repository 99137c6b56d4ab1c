//! Every small group of servers, against what the rules say one by one.

use super::*;

const MILLI: u64 = 1_000_000;

fn server() -> Server {
    Server::new(Duration::from_millis(10))
}

/// Numbers that are as good as random.
fn numbers(n: u64) -> impl Iterator<Item = u64> {
    (0..n).map(|n| {
        (n ^ 0x5eed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    })
}

/// All groups of up to four, each with up to two in flight, avoided or not, tried or not.
fn groups() -> Vec<Vec<(Seen, bool)>> {
    let one = |n: usize| (Seen { in_flight: n % 3, avoided: n / 3 % 2 == 1 }, n / 6 == 1);
    let mut groups = vec![Vec::new()];
    let mut last = groups.clone();
    for _ in 0..4 {
        let longer =
            |group: &Vec<_>| (0..12).map(|n| [group.as_slice(), &[one(n)]].concat()).collect::<Vec<_>>();
        last = last.iter().flat_map(longer).collect();
        groups.extend(last.clone());
    }
    groups
}

#[test]
fn none_twice_while_another_is_left_and_none_that_is_avoided_without_need() {
    for group in groups() {
        let seen: Vec<Seen> = group.iter().map(|(seen, _)| *seen).collect();
        for random in numbers(4).chain([0, u64::MAX]) {
            let Some(picked) = pick(&seen, |place| group[place].1, random) else {
                assert!(group.is_empty());
                continue;
            };
            let (server, tried) = group[picked];
            assert!(!tried || group.iter().all(|(_, tried)| *tried), "{group:?}: {picked} again");
            let as_good = || group.iter().filter(|(_, other)| *other == tried);
            assert!(
                !server.avoided || as_good().all(|(seen, _)| seen.avoided),
                "{group:?}: {picked} is avoided"
            );
            let rest: Vec<usize> = as_good()
                .filter(|(seen, _)| seen.avoided == server.avoided)
                .map(|(seen, _)| seen.in_flight)
                .collect();
            if rest.len() > 1 {
                let least = rest.iter().min().unwrap();
                let most_alone = rest.iter().filter(|in_flight| **in_flight >= server.in_flight).count() == 1;
                assert!(server.in_flight == *least || !most_alone, "{group:?}: the longest line was taken");
            }
        }
    }
}

#[test]
fn of_two_the_one_with_fewer_in_flight() {
    let busy = |in_flight| Seen { in_flight, avoided: false };
    for random in numbers(100) {
        assert_eq!(pick(&[busy(3), busy(2)], |_| false, random), Some(1));
        assert_eq!(pick(&[busy(2), busy(3)], |_| false, random), Some(0));
    }
}

#[test]
fn who_are_equal_are_asked_equally() {
    let seen = [Seen { in_flight: 1, avoided: false }; 5];
    let mut asked = [0; 5];
    for random in numbers(50_000) {
        asked[pick(&seen, |_| false, random).unwrap()] += 1;
    }
    assert!(asked.iter().all(|times| (9_500..10_500).contains(times)), "{asked:?}");
}

#[test]
fn lines_stay_of_the_same_length() {
    let mut servers = [server(); 10];
    for random in numbers(10_000) {
        let seen = servers.map(|server| server.see(0));
        servers[pick(&seen, |_| false, random).unwrap()].begin(0);
    }
    let in_flight = servers.map(|server| server.see(0).in_flight);
    assert!(in_flight.iter().all(|n| (990..1010).contains(n)), "{in_flight:?}");
}

#[test]
fn who_could_not_be_reached_is_avoided_for_a_while_and_then_asked_by_one() {
    let mut server = server();
    let avoided = |server: &Server, at: u64| server.see(at * MILLI).avoided;
    server.begin(0);
    server.unreachable(2 * MILLI);
    server.end();
    assert_eq!((avoided(&server, 2), avoided(&server, 11), avoided(&server, 12)), (true, true, false));
    server.begin(20 * MILLI);
    assert!(avoided(&server, 21), "one is there to see");
    assert!(!avoided(&server, 30), "and may never tell");
    server.begin(30 * MILLI);
    server.unreachable(35 * MILLI);
    assert_eq!((avoided(&server, 44), avoided(&server, 45)), (true, false));
    server.begin(50 * MILLI);
    server.reached();
    assert!(!avoided(&server, 50), "it is back");
    server.begin(50 * MILLI);
    assert!(!avoided(&server, 50), "and asked by all");
}

#[test]
fn each_that_comes_goes_once() {
    let mut server = server();
    server.begin(0);
    server.begin(0);
    server.end();
    assert_eq!(server.see(0).in_flight, 1);
    server.end();
    server.end();
    assert_eq!(server.see(u64::MAX).in_flight, 0);
    server.unreachable(u64::MAX);
    assert!(!server.see(u64::MAX).avoided, "no instant overflows");
}

#[test]
fn what_is_called_off_leaves_it_to_the_next_to_see_whether_a_server_is_back() {
    let mut server = server();
    server.begin(0);
    server.unreachable(0);
    server.end();
    let probe = server.begin(10 * MILLI);
    assert!(probe.is_some());
    assert_eq!(server.see(10 * MILLI), Seen { in_flight: 1, avoided: true });
    server.call_off(probe);
    assert_eq!(server.see(10 * MILLI), Seen { in_flight: 0, avoided: false });
    // What somebody else has seen since holds.
    let probe = server.begin(11 * MILLI);
    assert_eq!(server.begin(12 * MILLI), None, "there is one already");
    server.unreachable(13 * MILLI);
    server.call_off(probe);
    assert_eq!(server.see(22 * MILLI), Seen { in_flight: 1, avoided: true });
    let probe = server.begin(23 * MILLI);
    server.reached();
    server.call_off(probe);
    assert_eq!(server.see(23 * MILLI), Seen { in_flight: 1, avoided: false });
    assert_eq!(server.begin(23 * MILLI), None, "it is back");
}
