//! The binary `replay`: what it prints and how it ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{one_case, path};

fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replay")).args(arguments).output().unwrap()
}

fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn it_prints_a_line_a_case_and_the_totals() {
    let output = run(&[path()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.lines().count(), 87 + 1, "{text}");
    assert!(text.lines().last().unwrap().starts_with("87 cases: "), "{text}");
}

#[test]
fn it_ends_with_1_where_something_is_not_as_it_must_be() {
    let wrong = one_case(r#"{"op": "allow", "at_ns": 0, "n": 1, "expect": {"ok": false}}"#);
    let output = run(&[written("wrong.json", &wrong)]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.starts_with("MISMATCH peer: test, 1 of 1 steps; step 1: ok: expected false, got true\n"),
        "{text}"
    );
}

#[test]
fn it_ends_with_2_on_wrong_usage_and_on_what_it_cannot_read() {
    let unknown = written("unknown.json", &one_case(r#"{"op": "borrow", "at_ns": 0, "expect": {}}"#));
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nowhere.json");
    for (arguments, says) in [
        (vec![], "usage: replay FILE"),
        (vec![path(), path()], "usage: replay FILE"),
        (vec![nowhere], "nowhere.json: "),
        (vec![unknown], "unknown variant `borrow`"),
    ] {
        let output = run(&arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says) && output.stdout.is_empty(), "{arguments:?}: {text}");
    }
}
