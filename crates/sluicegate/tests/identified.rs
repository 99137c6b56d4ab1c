//! A process that has said who it is. Alone in its process, since that is for good.

use std::error::Error;

use sluicegate::failure::{Backtraces, Boundary, FailureOf, Lasting, Process, identify};

struct Disk;

impl Boundary for Disk {
    const NAME: &'static str = "disk";
}

#[test]
fn who_the_process_is_stands_in_each_record_and_decides_on_stacks() {
    let bug = || FailureOf::<Disk>::bug("torn");
    let before = bug();
    let process = Process::new("reports", "1.4.2", "web\n3").with_backtraces(Backtraces::OfBugs);
    assert_eq!(identify(process.clone()), &process);
    assert_eq!(identify(Process::new("other", "0", "x")), &process, "whoever is first is right");
    assert!(before.process().is_none() && before.backtrace().is_none());

    let after = bug();
    assert_eq!(after.process(), Some(&process));
    let line = format!("\n  process: reports 1.4.2 on web\\n3, pid {}", std::process::id());
    assert!(after.record().contains(&line), "{after:?}");
    assert!(!after.friendly().contains("web"), "the user is not told where");
    assert!(after.backtrace().unwrap().to_string().contains("who_the_process_is"));

    // Known cases are without; a bug whose cause has a stack does not take another.
    let known = FailureOf::<Disk>::known("gone", Lasting::Permanent, "It is gone.");
    assert!(known.backtrace().is_none());
    let stack = after.backtrace().unwrap().to_string();
    let cause: Box<dyn Error + Send + Sync> = after.into();
    let outer = bug().because(std::io::Error::other(cause));
    assert_eq!(outer.backtrace().unwrap().to_string(), stack);
}
