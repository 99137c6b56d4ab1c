//! The example of three modules, as a process: what the user reads, and what the log holds.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a test's failure")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A program that is being written can't be executed, and a process that is just being started holds a copy of what others
/// are writing: so no two tests do the one and the other at a time.
static TURN: Mutex<()> = Mutex::new(());

struct Ran {
    code: i32,
    shown: String,
    log: String,
}

impl Ran {
    /// The ID in what was shown, which must be in the first line of the record.
    fn id(&self) -> &str {
        let (_, rest) = self.shown.split_once("(log ID ").unwrap();
        let id = rest.split_once(')').unwrap().0;
        assert!(self.log.starts_with(id), "{id} in {}", self.log);
        id
    }
}

fn run(args: &[&str]) -> Ran {
    let mut example = std::env::current_exe().unwrap();
    example.pop();
    example.pop();
    example.push("examples/three_modules");
    let mut command = Command::new(&example);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = command.args(args).output().unwrap_or_else(|error| {
        panic!("{}: {error}: build it with `cargo build --example three_modules`", example.display())
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), shown: text(output.stdout), log: text(output.stderr) }
}

/// A program that ends with its test.
struct Program(PathBuf);

impl Program {
    fn new(text: &str, mode: u32) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("sluicegate-three-modules-{}-{count}", std::process::id()));
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_foreign_error_is_shown_as_unexpected_with_an_id_that_finds_the_whole_record() {
    // Nobody foresaw that a name could be too long for the file system.
    let path = format!("/{}", "hunter2".repeat(60));
    let ran = run(&["7", &path]);
    let id = ran.id();
    assert_eq!(
        ran.shown,
        format!(
            "There was an unexpected issue, and trying again may not help. Please report it. (log ID {id})\n"
        )
    );
    assert_eq!(ran.code, 1);
    for part in [
        "[bug] can't tell whether a job can run",
        "was [bug] can't look at a file (low level)",
        "at low level ",
        "at intermediate ",
        "at cli ",
        "job: 7",
        "command: run",
        &format!("path: {path}"),
        "process: three_modules ",
        "because File name too long",
    ] {
        assert_eq!(ran.log.matches(part).count(), 1, "{part} in {}", ran.log);
    }
}

#[test]
fn a_foreign_error_of_the_middle_module_is_one_too() {
    let program = Program::new("\u{0}no program at all", 0o755);
    let ran = run(&["7", program.path()]);
    assert!(ran.shown.starts_with("There was an unexpected issue") && !ran.shown.contains("format"));
    ran.id();
    assert!(
        ran.log.contains("[bug] can't start a job") && ran.log.contains("because Exec format"),
        "{}",
        ran.log
    );
    // Its origin is where it was taken in.
    assert_eq!(ran.log.matches("\n  at ").count(), 2);
    assert!(ran.log.contains("\n  at intermediate "));
}

#[test]
fn known_cases_are_shown_as_such_whichever_module_knows_them() {
    let data = Program::new("data", 0o700);
    let failing = Program::new("#!/bin/sh\nexit 3\n", 0o755);
    let later = Program::new("#!/bin/sh\nexit 75\n", 0o755);
    let folder = std::env::temp_dir();
    for (path, shown) in [
        ("/bad/job/binary", "Job \"7\" can't run: its program is not there. Trying again will not help."),
        (data.path(), "Job \"7\" can't run: its program is not executable. Trying again will not help."),
        (
            folder.to_str().unwrap(),
            "Job \"7\" can't run: its program is not executable. Trying again will not help.",
        ),
        (failing.path(), "Job \"7\" has failed. Trying again will not help."),
        (later.path(), "Job \"7\" has failed. Please try again later."),
    ] {
        let ran = run(&["7", path]);
        assert_eq!((ran.code, ran.shown.clone()), (1, format!("{shown} (log ID {})\n", ran.id())), "{path}");
    }
    // What the module below said is still there.
    let missing = run(&["7"]);
    assert_ne!(missing.id(), run(&["7"]).id());
    assert!(missing.log.contains("was [no-file] There is no such file. (low level)"), "{}", missing.log);
}

#[test]
fn who_asks_for_all_of_it_gets_it() {
    let ran = run(&["-v", "7"]);
    assert_eq!(ran.shown.lines().nth(1), ran.log.lines().next());
    assert!(ran.shown.ends_with(&ran.log));
}

#[test]
fn a_job_that_runs_has_no_failure() {
    let marker = Program::new("", 0o600);
    let job = Program::new(&format!("#!/bin/sh\necho \"$1\" > {}\n", marker.path()), 0o755);
    let ran = run(&["7", job.path()]);
    assert_eq!((ran.code, ran.shown.as_str(), ran.log.as_str()), (0, "Job \"7\" has run.\n", ""));
    assert_eq!(fs::read_to_string(Path::new(marker.path())).unwrap(), "--id=7\n");
}
