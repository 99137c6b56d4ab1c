//! A process that grants, killed again and again: what it has told is in the file, or was told in the last span.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sluicegate::clock::{Clock, SystemClock};
use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store};
use sluicegate_disk::{Disk, DiskError, Options};

use crate::support::{Place, quota};

const FILE: &str = "SLUICEGATE_DISK_TEST_FILE";
const SPAN: &str = "SLUICEGATE_DISK_TEST_SPAN";
const TASKS: &str = "SLUICEGATE_DISK_TEST_TASKS";
const ALL: u64 = 1_000_000_000;

/// How often it is killed.
const KILLS: u32 = 110;

/// What every grant takes one of: one key, and one of many.
fn charges<'a>(turn: u64, key: &'a [u8; 1], stock: &'a Quota) -> [Charge<'a>; 2] {
    debug_assert_eq!(u64::from(key[0]), turn % 50);
    [Charge::new("one", b"k", stock), Charge::new("many", key, stock)]
}

fn options(span: u64) -> Options {
    if span == 0 { Options::new().strict() } else { Options::new().write_behind(Duration::from_millis(span)) }
}

/// The process that is killed; a test only so that there is a program to run. Tells each grant, and when it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child() {
    let [Ok(file), Ok(span), Ok(tasks)] = [FILE, SPAN, TASKS].map(std::env::var) else { return };
    let disk = options(span.parse().unwrap()).open(file).unwrap();
    let tasks = 0..tasks.parse::<u32>().unwrap();
    let tasks: Vec<_> = tasks.map(|_| tokio::spawn(grant_for_ever(disk.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn grant_for_ever(disk: Disk) {
    let (clock, stock) = (SystemClock::new(), quota(&format!("stock {ALL}")));
    for turn in 0.. {
        let key = [u8::try_from(turn % 50).unwrap()];
        let before = clock.now();
        assert!(disk.take(&charges(turn, &key, &stock)).await.unwrap().is_granted());
        let after = clock.now();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\ngranted {before} {after}").unwrap();
        out.flush().unwrap();
    }
}

fn child(place: &Place, span: u64, tasks: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::the_child", "--nocapture", "--test-threads", "1"])
        .env(FILE, place.file())
        .env(SPAN, span.to_string())
        .env(TASKS, tasks.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// When a grant was made, at the earliest and at the latest.
fn grant(line: &str) -> Option<(u64, u64)> {
    let (before, after) = line.strip_prefix("granted ")?.split_once(' ')?;
    Some((before.parse().ok()?, after.parse().ok()?))
}

/// How many were taken in all, by the one key and by the many.
async fn taken(disk: &Disk, stock: &Quota) -> [u64; 2] {
    let left = async |charge: Charge<'_>| disk.peek(&[charge.of(0)]).await.unwrap().decision.remaining();
    let mut many = 0;
    for key in 0..50 {
        many += ALL - left(Charge::new("many", &[key], stock)).await;
    }
    [ALL - left(Charge::new("one", b"k", stock)).await, many]
}

/// Kills a process over and over, of which so many tasks grant. `check` is told what it has granted, and how many of that are in
/// the file.
async fn kill(kills: u32, span: u64, tasks: u32, mut check: impl FnMut(&[(u64, u64)], u64)) {
    let (place, stock) = (Place::new(), quota(&format!("stock {ALL}")));
    let (mut had, mut granted) = (0, 0);
    for kill in 0..kills {
        let mut process = child(&place, span, tasks);
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut grants = lines.filter_map(|line| grant(&line));
        // From none, killed while it opens or makes the file, to some dozens.
        let wanted = usize::try_from(kill.wrapping_mul(2_654_435_761) >> 26).unwrap();
        let mut told: Vec<(u64, u64)> = grants.by_ref().take(wanted).collect();
        process.kill().unwrap();
        assert!(!process.wait().unwrap().success());
        told.extend(grants);
        granted += told.len();
        let disk = match options(span).open(place.file()) {
            Ok(disk) => disk,
            Err(error) => panic!("kill {kill}: {error}"),
        };
        let has = taken(&disk, &stock).await;
        assert_eq!(has[0], has[1], "kill {kill}: all of a decision, or nothing");
        check(&told, has[0] - had);
        had = has[0];
    }
    assert!(granted > 10 * kills as usize, "hardly anything was granted: {granted}");
}

#[tokio::test]
async fn strict_forgets_nothing() {
    for (kills, tasks) in [(KILLS, 1), (30, 8)] {
        kill(kills, 0, tasks, |told, kept| {
            let told = told.len() as u64;
            let on_their_way = u64::from(tasks);
            assert!((told..=told + on_their_way).contains(&kept), "{told} told, {kept} kept");
        })
        .await;
    }
}

#[tokio::test]
async fn written_behind_what_is_forgotten_was_granted_in_a_span() {
    let (mut forgotten, span) = (0, 20);
    kill(KILLS, span, 1, |told, kept| {
        let kept = usize::try_from(kept).unwrap();
        if let (Some((_, first)), Some((last, _))) = (told.get(kept), told.last()) {
            forgotten += told.len() - kept;
            let between = Duration::from_nanos(last.saturating_sub(*first));
            assert!(between <= Duration::from_millis(span), "{} told, {kept} kept: {between:?}", told.len());
        }
    })
    .await;
    assert!(forgotten > 100, "it is not written behind: {forgotten}");
}

#[tokio::test]
async fn a_file_that_another_process_has_is_in_use_until_that_is_killed() {
    let place = Place::new();
    let mut process = child(&place, 0, 1);
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.filter_map(|line| grant(&line)).next().is_some());
    let error = Disk::open(place.file()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(taken(&Disk::open(place.file()).unwrap(), &quota(&format!("stock {ALL}"))).await[0] > 0);
}
