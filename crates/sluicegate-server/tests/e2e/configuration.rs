//! `check` and `explain`: what is said of a configuration file, where, and with which exit code.
use crate::SLUICEGATE;
use sluicegate_testkit::process::{Ended, run};
use std::path::PathBuf;

/// A file that is removed when a test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let file = std::env::temp_dir().join(format!("sluicegate-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, text).expect("a folder for temporary files");
        Self(file)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("a name in UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const FINE: &str = "
[upstream.api]
url = 'http://127.0.0.1:9000'
[[route]]
name = 'login'
path = '/login'
limits = ['client.ip 5/s']
[[route]]
name = 'all'
";

async fn check(file: &str) -> Ended {
    run(SLUICEGATE, &["check", file]).await
}

#[tokio::test]
async fn a_file_is_fine_or_its_mistakes_are_shown() {
    let fine = File::new("fine", FINE);
    let ended = check(fine.name()).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let summary = "fine: 1 listener, 2 routes, 1 limit, 2 queues, 1 upstream";
    assert_eq!(ended.stdout.trim_end(), format!("{}: {summary}", fine.name()));

    let wrong =
        File::new("wrong", &FINE.replace("limits", "limit").replace("5/s", "5").replace("'http:", "'https:"));
    let ended = check(wrong.name()).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    for part in
        ["error: unknown key `limit`", "did you mean `limits`?", "`upstream.api.url`", ":7:1", ": 2 mistakes"]
    {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains('\u{1b}'), "escape codes are for terminals: {}", ended.stderr);

    let unused =
        File::new("unused", &FINE.replace("[[route]]\nname = 'all'", "[queue.api]\nconcurrency = 1"));
    let ended = check(unused.name()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("warning: no route has the queue `api`"), "{}", ended.stderr);

    let kept = File::new("kept", &format!("{FINE}retry = true\nreplay = '8MiB'\n"));
    let ended = check(kept.name()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let part = "warning: `route.all.replay`: up to 8MiB of each body is kept, and nothing bounds how many";
    assert!(ended.stderr.contains(part), "{}", ended.stderr);
}

#[tokio::test]
async fn files_that_are_named_are_looked_for() {
    let text = "[[listener]]\naddress = '127.0.0.1:0'\ntls = { certificate = 'none.pem', key = 'none.key' }\n\
                [upstream.api]\nurl = 'http://127.0.0.1:9000'";
    let ended = check(File::new("tls", text).name()).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("`listener.0.tls.certificate` can't be"), "{}", ended.stderr);
    let ended = check("/nonexistent/gateway.toml").await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("/nonexistent/gateway.toml can't be read"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_request_is_explained() {
    let file = File::new("explain", FINE);
    let args = [
        "explain",
        "--config",
        file.name(),
        "POST /login",
        "--client",
        "192.0.2.1",
        "--header",
        "Host: a.test",
    ];
    let ended = run(SLUICEGATE, &args).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for part in ["request   POST a.test/login\n", "route     login\n", "for each client.ip; here 192.0.2.1\n"]
    {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let args = ["explain", "--config", file.name(), "GET http://a.test/b?c", "--json"];
    let json: serde_json::Value = serde_json::from_str(&run(SLUICEGATE, &args).await.stdout).expect("JSON");
    assert_eq!((&json["route"]["name"], &json["host"]), (&"all".into(), &"a.test".into()), "{json}");
    assert_eq!(json["passed"][0]["route"], "login");

    let ended = run(SLUICEGATE, &["explain", "--config", file.name(), "login"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("`GET /login`"), "{}", ended.stderr);
    let wrong = File::new("explain-wrong", "wrokers = 1");
    let ended = run(SLUICEGATE, &["explain", "--config", wrong.name(), "GET /"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `workers`?"), "{}", ended.stderr);
}
