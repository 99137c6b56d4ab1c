//! Fingerprints.

use super::fingerprint::from_src;
use super::*;

fn bug(what: impl Into<Cow<'static, str>>) -> Fingerprint {
    FailureOf::<Files>::bug(what).fingerprint()
}

#[test]
fn the_same_reason_is_one_group_whatever_varies() {
    assert_eq!(
        bug("torn"),
        FailureOf::<Files>::bug("torn").with("row", 7).because(disk_full()).fingerprint()
    );
    // Text that was put together holds what varies.
    assert_eq!(bug(format!("row {}", 7)), bug(format!("row {}", 8)));
    let known = |line| FailureOf::<Files>::known("gone", Lasting::Permanent, line).fingerprint();
    assert_eq!(known("It is gone."), known("It has gone."));
}

#[test]
fn other_reasons_are_other_groups() {
    let known = |code| FailureOf::<Files>::known(code, Lasting::Permanent, "It is gone.");
    let all = [
        bug("torn"),
        bug("worn"),
        bug(format!("{}", 1)),
        known("gone").fingerprint(),
        known("lost").fingerprint(),
        FailureOf::<Jobs>::bug("torn").fingerprint(),
        FailureOf::<Files>::bug("torn").through::<Jobs>().fingerprint(),
        known("gone").retold::<Jobs>(Choice::bug("torn")).fingerprint(),
        known("lost").retold::<Jobs>(Choice::bug("torn")).fingerprint(),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
}

#[test]
fn a_fingerprint_is_the_same_in_every_run() {
    // Were it to change, everybody's groups would start anew. This file's name is in it.
    assert_eq!(bug("torn").to_string(), "6c84fae312afb8b7");
}

#[test]
fn a_file_is_the_same_wherever_it_was_built() {
    for (file, rest) in [
        ("crates/a/src/b/c.rs", "src/b/c.rs"),
        ("/home/me/.cargo/registry/src/index-1/a-1.2.3/src/lib.rs", "src/lib.rs"),
        ("src/main.rs", "src/main.rs"),
        ("/build/mysrc/x.rs", "x.rs"),
        ("examples/x.rs", "x.rs"),
        ("x.rs", "x.rs"),
        ("", ""),
    ] {
        assert_eq!(from_src(file), rest);
    }
}
