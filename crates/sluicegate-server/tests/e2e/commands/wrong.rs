//! What is wrong is told before anything is asked, and without a password.
use super::{SECRET, ended, refused, server, spawn_with};
use crate::SLUICEGATE;
use sluicegate_testkit::process::run;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use tokio::process::Command;

const QUOTA: [&str; 2] = ["--quota", "5/s"];

#[tokio::test]
async fn wrong_usage_is_named() {
    let url = server().url();
    let secret = format!("redis://ann:{SECRET}@127.0.0.1/nine");
    let lost = format!("rediss://ann:{SECRET}@127.0.0.1?ca=/no/such/file.pem");
    let here = format!("redis://ann:{SECRET}@127.0.0.1");
    let flag = format!("--quota={here}");
    let cases: &[(&[&str], &[&str])] = &[
        (&["take", "ann", "--quota", "5/s"], &["--store ADDRESS", "SLUICEGATE_STORE"]),
        (
            &["take", "ann", "--quota", "5/s", "--store", "memory"],
            &["--store `memory`", "outlives this command"],
        ),
        (&["reset", "ann", "--store", ""], &["--store", "`redis://HOST:PORT`"]),
        (
            &["take", "ann", "--quota", "5/s", "--store", &secret],
            &["--store: `redis://ann:…@127.0.0.1/nine`"],
        ),
        (&["take", "ann", "--quota", "5/s", "--store", &lost], &["/no/such/file.pem can't be read"]),
        (&["take", "ann", "--store", &url], &["--quota"]),
        (&["take", "--quota", "5/s", "--store", &url], &["<KEY>"]),
        (&["take", "ann", "--quota", "5", "--store", &url], &["--quota", "5/s"]),
        (
            &["take", "ann", "--quota", "stock 2000000000000000", "--store", &url],
            &["--quota: the store can't hold to it"],
        ),
        (&["take", "ann", "--quota", "5/s", "--store", &url, "--n", "-1"], &["'-1' for '--n"]),
        (&["take", "ann", "--quota", "5/s", "--store", &url, "--n", "many"], &["--n", "many"]),
        (&["take", "ann", "--quota", "5/s", "--store", &url, "--all", "--n", "1"], &["--all", "--n"]),
        (
            &["take", "ann", "--quota", "5/s", "--store", &url, "--up-to", "--wait", "1s"],
            &["--up-to", "--wait"],
        ),
        (&["take", "ann", "--quota", "5/s", "--store", &url, "--wait", "1"], &["--wait", "2s"]),
        (&["take", "ann", "--quota", "5/s", "--store", &url, "--timeout", "0s"], &["--timeout", "1ms"]),
        // Where an address is not expected.
        (&["take", "ann", "--quota", "5/s", &here], &["redis://ann:…@127.0.0.1"]),
        (&["take", "ann", "--quota", &here], &["redis://ann:…@127.0.0.1"]),
        (&["reset", "ann", "--timeout", &here], &["redis://ann:…@127.0.0.1"]),
        (&["take", "ann", &flag], &["redis://ann:…@127.0.0.1"]),
        (&[&here], &["redis://ann:…@127.0.0.1"]),
        (&["serve", "--upstream", "http://127.0.0.1:9", "--limit", &here], &["ann:…@127.0.0.1"]),
    ];
    for (args, says) in cases {
        let (code, said) = refused(args).await;
        assert!(code == 2 && says.iter().all(|part| said.contains(part)), "{args:?}: {code}: {said}");
    }
}

#[tokio::test]
async fn the_environment_names_the_store_where_no_flag_does() {
    let url = server().url();
    let take = [&["take", "ann", "--space", "environment", "--timeout", "60s"][..], &QUOTA].concat();
    let granted = ended(spawn_with(Some(&url), &take)).await;
    assert_eq!((granted.code, granted.stdout.as_str()), (Some(0), "granted, 4 of 5 left\n"));
    let wrong = format!("redis://ann:{SECRET}@127.0.0.1/nine");
    let told = ended(spawn_with(Some(&wrong), &take)).await;
    assert!(told.stderr.starts_with("sluicegate: SLUICEGATE_STORE: `redis://ann:…@"), "{}", told.stderr);
    assert_eq!(told.code, Some(2));
    let flag = ended(spawn_with(Some(&wrong), &[&take[..], &["--store", &url]].concat())).await;
    assert_eq!(flag.code, Some(0), "the flag counts: {}", flag.stderr);
    let help = ended(spawn_with(Some(&wrong), &["take", "--help"])).await;
    assert!(help.code == Some(0) && !help.stdout.contains("127.0.0.1/nine"), "{}", help.stdout);
}

#[tokio::test]
async fn what_is_no_text_is_wrong_usage() {
    let key = OsStr::from_bytes(b"\xffann");
    let mut command = Command::new(SLUICEGATE);
    command.args(["reset", "--store", "redis://127.0.0.1:9"]).arg(key).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let told = ended(command.spawn().expect("the binary can be run")).await;
    assert!(told.code == Some(2) && told.stderr.contains("UTF-8"), "{}", told.stderr);
}

#[tokio::test]
async fn help_says_what_the_codes_mean() {
    for command in ["take", "put", "peek", "watch", "reset"] {
        let help = run(SLUICEGATE, &[command, "--help"]).await;
        let told: String = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.code == Some(0) && told.contains("3 the store has no answer"), "{told}");
    }
}
