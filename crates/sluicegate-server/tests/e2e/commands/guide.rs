//! The scripts of the guide are run, and say what it says they do.
use super::{ended, server};
use crate::SLUICEGATE;
use crate::programs::Folder;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use tokio::process::Command;

const CHAPTER: &str = include_str!("../../../guide/commands.md");

/// The jobs behind the commands.
const JOBS: [(&str, &str); 3] = [
    ("nightly-report", "the report is written"),
    ("backup", "the backup is made"),
    ("build", "the build is done"),
];

#[tokio::test]
async fn its_scripts_say_what_they_do() {
    let folder = Folder::new();
    symlink(SLUICEGATE, folder.path("sluicegate")).unwrap();
    for (name, says) in JOBS {
        let file = folder.write(name, format!("#!/bin/sh\necho '{says}'\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path(""), std::env::var("PATH").unwrap());
    let store = format!("{}?prefix=guide&timeout=60s", server().url());
    let mut parts = CHAPTER.split("```").skip(1).step_by(2);
    let mut count = 0;
    while let (Some(script), Some(says)) = (parts.next(), parts.next()) {
        let script = script.strip_prefix("sh\n").expect("a script").replace("redis://127.0.0.1:6379", &store);
        let says = says.strip_prefix("text\n").expect("what it says");
        // The address has an ampersand, and the line in the guide has none to quote.
        let script = script.replace(&store, &format!("'{store}'"));
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("PATH", &path).env("SLUICEGATE_STORE", &store).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = ended(command.spawn().expect("a shell")).await;
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str(), ended.code),
            (says, "", Some(0)),
            "{script}"
        );
        count += 1;
    }
    assert_eq!(count, 5);
}
