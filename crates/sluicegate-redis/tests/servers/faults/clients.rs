//! Processes that are killed, by signal 9, with tokens in their hands: what they held is gone until it has flowed again, and
//! nobody is granted it twice.

use std::time::Duration;

use sluicegate::store::{Charge, Store};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::PATIENCE;

use crate::cluster;
use crate::hammer::{CALL, Hammer, Kind, MANY, TASKS, now};
use crate::server::{Server, eventually, prefix};

const LIFETIME: Duration = Duration::from_millis(500);

/// How many tokens a bucket has now; and when it was asked, and had answered.
fn left(settings: &Settings, space: &str, key: &[u8], quota: &str) -> (u64, [u64; 2]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Redis::open(settings.clone().timeout(PATIENCE).connect_timeout(PATIENCE));
        let (quota, asked) = (quota.parse().expect("a quota"), now());
        let verdict = store.peek(&[Charge::new(space, key, &quota).of(0)]).await.expect("an answer");
        let answered = now();
        store.close().await;
        (verdict.decision.remaining(), [asked, answered])
    })
}

/// Kills one that holds something, and says how much it can have held at the most: half of what it had spent in the last lifetime
/// when it took it, which is a lifetime ago at the most. What it spent and did not come to say is in that too.
fn kill(hammer: &mut Hammer, what: &str) -> u64 {
    let next = hammer.next();
    eventually("a lease", || (hammer.holds(next) > 0).then_some(()));
    let (number, ended) = hammer.kill_one();
    let spent = hammer.granted_to(number, ended - micros(2 * LIFETIME)) + TASKS;
    let most = spent.div_ceil(2) + TASKS;
    say(&format!("{what}: one killed that held {}, of at most {most}", hammer.holds(number)));
    most
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("short")
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn say(what: &str) {
    eprintln!("{what}");
}

/// Where nothing flows, every token is accounted for.
#[test]
fn one_that_holds_a_lease_where_nothing_flows() {
    const QUOTA: &str = "1/h burst 1000000";
    let (server, what) = (Server::start(&[]), "leases, killed five times, nothing flowing");
    let kind = Kind::Leased { lifetime: LIFETIME, rest: Duration::from_millis(2) };
    let mut hammer = Hammer::start_as(kind, &server.url(), "lim", QUOTA);
    let mut most = 0;
    for _ in 0..5 {
        hammer.go_on(1000);
        most += kill(&mut hammer, what);
    }
    hammer.go_on(1000);
    let granted = hammer.end().len() as u64;
    let settings = server.settings().prefix("lim").expect("a prefix");
    let gone = 1_000_000 - left(&settings, "hot", b"key", QUOTA).0;
    say(&format!("{what}: {gone} gone, {granted} of them used, at most {most} held by those killed"));
    assert!(gone > granted, "those that were killed held nothing");
    assert!(gone <= granted + most, "more is gone than they can have held");
}

/// Where tokens flow, and a bucket has room for all of them: over all of it what has flowed, less what was held.
#[test]
fn one_that_holds_a_lease_in_the_long_run() {
    const QUOTA: &str = "500/s burst 1000000 initial 0";
    let (server, what) = (Server::start(&[]), "leases, killed five times, in the long run");
    let (used, most) = killed_five_times(&server, QUOTA, what, |hammer| hammer.end().len() as u64);
    let settings = server.settings().prefix("lim").expect("a prefix");
    let (left, [asked, answered]) = left(&settings, "hot", b"key", QUOTA);
    // All buckets of the prefix began then.
    let began: u64 = redis::cmd("GET").arg("lim:began").query(&mut server.connect()).expect("a server");
    let [least, all] = [asked, answered].map(|then| 500 * (then - began) / 1_000_000);
    say(&format!("{what}: {used} used and {left} left of {least} to {all} that came, at most {most} held"));
    assert!(used + left <= all, "what was held was granted again");
    assert!(used + left + most + 1 >= least, "more is gone than they can have held");
}

/// In no span more than leases may. (What overflows a bucket while a busy machine lets nobody ask is nobody's.)
#[test]
fn one_that_holds_a_lease_in_any_span() {
    const QUOTA: &str = "500/s burst 100";
    let (server, what) = (Server::start(&[]), "leases, killed five times");
    // Half of what flows while a call is under way may come later still.
    let late = LIFETIME + CALL / 2;
    let mut over = None;
    killed_five_times(&server, QUOTA, what, |hammer| over = Some(hammer.over_late(what, late)));
    assert_eq!(over, Some(0));
}

/// Has processes with leases use all there is, kills one after the other, and ends them. Says what comes of that, and how much those
/// who were killed can have held at the most.
fn killed_five_times<R>(
    server: &Server,
    quota: &str,
    what: &str,
    end: impl FnOnce(&mut Hammer) -> R,
) -> (R, u64) {
    let kind = Kind::Leased { lifetime: LIFETIME, rest: Duration::from_millis(10) };
    let mut hammer = Hammer::start_as(kind, &server.url(), "lim", quota);
    let mut most = 0;
    for _ in 0..5 {
        hammer.go_on(300);
        most += kill(&mut hammer, what);
    }
    hammer.go_on(300);
    (end(&mut hammer), most)
}

/// In the middle of requests over several slots, taken one by one and given back where one refuses.
#[test]
fn one_between_the_slots_of_a_cluster() {
    const KILLED: u64 = 12;
    let (cluster, prefix) = (cluster::shared(), prefix());
    let what = "requests over three slots, killed twelve times";
    // Refused as often as granted: so both what is taken and what is given back is cut short.
    let mut hammer = Hammer::start_as(Kind::Slots, &cluster.url(), &prefix, "200/s burst 20");
    for _ in 0..KILLED {
        hammer.go_on(40);
        hammer.kill_one();
    }
    hammer.go_on(40);
    let granted = hammer.end().len() as u64;
    // Of each task one request at the most was under way, or had come and was not told. One without an answer may have been done.
    let most = KILLED * TASKS + hammer.errors(what);
    let settings = cluster.settings().prefix(&prefix).expect("a prefix");
    for key in MANY.0 {
        let gone = 1_000_000_000 - left(&settings, "many", key, MANY.1).0;
        let name = String::from_utf8_lossy(key);
        say(&format!("{what}: {gone} of key {name} gone, {granted} granted, at most {most} lost"));
        assert!((granted..=granted + most).contains(&gone));
    }
    assert_eq!(hammer.over(what), 0);
}
