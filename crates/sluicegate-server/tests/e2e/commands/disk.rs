//! In a file, which is one process's at a time.
use super::{
    Bucket, a_job_behind_it_runs_only_if_granted, each_answer_is_json, each_command_does_what_it_says, ended,
    refused, signal, spawn, takers_at_once_share, told, waits_are_kept,
};
use crate::programs::Folder;
use sluicegate_testkit::wait::eventually;

fn store(folder: &Folder) -> String {
    format!("disk:{}", folder.path("a quota's file.redb"))
}

#[tokio::test]
async fn each_command_does_what_it_says_in_a_file() {
    let folder = Folder::new();
    each_command_does_what_it_says(&store(&folder)).await;
}

#[tokio::test]
async fn each_answer_is_json_in_a_file() {
    let folder = Folder::new();
    each_answer_is_json(&format!("{}?write-behind=100ms", store(&folder))).await;
}

/// The file is not there before: one of them makes it.
#[tokio::test]
async fn takers_at_once_share_a_file() {
    let folder = Folder::new();
    takers_at_once_share(&store(&folder)).await;
}

#[tokio::test]
async fn waits_are_kept_in_a_file() {
    let folder = Folder::new();
    waits_are_kept(&store(&folder)).await;
}

#[tokio::test]
async fn a_job_behind_it_runs_only_if_granted_by_a_file() {
    let folder = Folder::new();
    a_job_behind_it_runs_only_if_granted(&store(&folder)).await;
}

#[tokio::test]
async fn a_file_in_use_is_told_and_what_is_interrupted_is_not_taken() {
    let folder = Folder::new();
    let store = store(&folder);
    let bucket = Bucket { store: &store, space: "s", quota: "1/h" };
    assert_eq!(told(&bucket.of("take", "ann", &[])).await.0, 0);
    let waiting = spawn(&bucket.of("take", "ann", &["--wait", "3h"]));
    let said = eventually("the file to be in use", async || {
        let ended = super::ask(&bucket.of("peek", "ann", &["--timeout", "1ms"])).await;
        (ended.code == Some(3)).then_some(ended.stderr)
    })
    .await;
    assert!(said.contains("is open already") && said.contains("such as a gateway's"), "{said}");
    let patient = spawn(&bucket.of("take", "ann", &["--timeout", "1h"]));
    eventually("it to listen to signals", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", patient.id()?)).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
        (u64::from_str_radix(caught, 16).ok()? & 1 << 1 != 0).then_some(())
    })
    .await;
    signal(&patient, "INT").await;
    assert_eq!(ended(patient).await.code, Some(130));
    signal(&waiting, "TERM").await;
    let waited = ended(waiting).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(143), ""));
    assert!(waited.stderr.contains("interrupted"), "{}", waited.stderr);
    // Of two hours nobody has booked the second.
    let (_, value) = super::json(&bucket.of("peek", "ann", &[])).await;
    assert!(value["retry_after"].as_f64().unwrap() <= 3600.0, "{value}");
}

#[tokio::test]
async fn a_file_that_is_not_right_is_told() {
    let folder = Folder::new();
    let letter = format!("disk:{}", folder.write("letter", "dear"));
    let nowhere = format!("disk:{}", folder.path("no/such/folder"));
    let missing = format!("{}?create=no", store(&folder));
    let cases = [(&letter, "letter"), (&nowhere, "no/such/folder"), (&missing, "there is none")];
    for (address, says) in cases {
        let bucket = Bucket { store: address, space: "s", quota: "5/s" };
        let (code, said) = refused(&bucket.of("take", "ann", &["--timeout", "1s"])).await;
        assert!(code == 3 && said.contains(says), "{address}: {said}");
    }
}
