//! `sluicegate take`, `put`, `peek`, `watch` and `reset`, as scripts run them.
mod disk;
mod guide;
mod interrupted;
mod redis;
mod wrong;

use crate::SLUICEGATE;
use serde_json::Value;
use sluicegate_testkit::process::{Ended, run};
use sluicegate_testkit::redis_server::Server;
use sluicegate_testkit::wait::within;
use std::process::Stdio;
use std::sync::OnceLock;
use tokio::process::{Child, Command};

/// A password that must never be seen again.
const SECRET: &str = "hunter2";

/// How patient commands are on a busy machine.
const PATIENT: [&str; 2] = ["--timeout", "60s"];

/// One server for all tests that do it no harm. Each has a space of its own.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[]))
}

/// Starts a command, with this in the environment.
fn spawn_with(variable: Option<&str>, args: &[&str]) -> Child {
    let mut command = Command::new(SLUICEGATE);
    command.args(args).env_remove("SLUICEGATE_STORE").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(address) = variable {
        command.env("SLUICEGATE_STORE", address);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be run")
}

fn spawn(args: &[&str]) -> Child {
    spawn_with(None, args)
}

/// Waits for its end. No password is in anything it has printed.
async fn ended(child: Child) -> Ended {
    let output =
        within("the command to end", child.wait_with_output()).await.expect("a child can be waited for");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    let ended =
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    for part in [SECRET, "limits:secret", "panicked"] {
        assert!(!ended.stdout.contains(part) && !ended.stderr.contains(part), "{part}: {ended:?}");
    }
    ended
}

async fn ask(args: &[&str]) -> Ended {
    ended(spawn(args)).await
}

/// Its exit code and its one line.
async fn told(args: &[&str]) -> (i32, String) {
    let ended = ask(args).await;
    assert_eq!(ended.stderr, "", "{args:?}");
    let line = ended.stdout.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "one line: {line}");
    (ended.code.expect("it was not killed"), line.to_owned())
}

/// Its exit code and its JSON, whose fields are a promise.
async fn json(args: &[&str]) -> (i32, Value) {
    // Behind the command, since what stands behind `--` is a key.
    let (code, line) = told(&[&args[..1], &["--json"], &args[1..]].concat()).await;
    let value: Value = serde_json::from_str(&line).expect("one JSON object");
    let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    let all = [
        "capacity",
        "command",
        "decided_by",
        "decision",
        "key",
        "n",
        "quota",
        "remaining",
        "reset_after",
        "retry_after",
        "space",
        "tokens",
    ];
    assert_eq!(fields, all);
    (code, value)
}

/// Its exit code and what it says is wrong; nothing is on standard output.
async fn refused(args: &[&str]) -> (i32, String) {
    let ended = ask(args).await;
    assert_eq!(ended.stdout, "", "{args:?}");
    (ended.code.expect("it was not killed"), ended.stderr)
}

/// The flags that say a bucket.
struct Bucket<'a> {
    store: &'a str,
    space: &'a str,
    quota: &'a str,
}

impl<'a> Bucket<'a> {
    /// A command on a key of it.
    fn of<'b>(&'b self, command: &'b str, key: &'b str, more: &[&'b str]) -> Vec<&'b str>
    where
        'a: 'b,
    {
        let mut args = vec![command, "--store", self.store, "--space", self.space];
        if command != "reset" {
            args.extend(["--quota", self.quota]);
        }
        if !more.contains(&"--timeout") {
            args.extend(PATIENT);
        }
        args.extend(more);
        args.extend(["--", key]);
        args
    }
}

/// Does all of it, in whichever store.
async fn each_command_does_what_it_says(store: &str) {
    let bucket = Bucket { store, space: "each", quota: "stock 10 max 12" };
    let on = |command: &'static str, more: &[&'static str]| {
        bucket.of(command, "ann", more).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let says = async |command, more: &[&'static str]| {
        let args = on(command, more);
        told(&args.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let is = |code: i32, line: &str| (code, line.to_owned());
    assert_eq!(says("take", &[]).await, is(0, "granted, 9 of 12 left"));
    assert_eq!(says("peek", &["--n", "9"]).await, is(0, "would be granted, 9 of 12 left"));
    assert_eq!(says("take", &["--n", "4"]).await, is(0, "granted, 5 of 12 left"));
    assert_eq!(says("take", &["--n", "6"]).await, is(1, "refused, until somebody puts, 5 of 12 left"));
    assert_eq!(
        says("peek", &["--n", "6"]).await,
        is(1, "would be refused, until somebody puts, 5 of 12 left")
    );
    assert_eq!(says("take", &["--n", "13"]).await, is(1, "refused, for ever: there are never more than 12"));
    assert_eq!(says("take", &["--n", "6", "--up-to"]).await, is(0, "granted 5 of 6, 0 of 12 left"));
    let none = is(1, "refused, until somebody puts, 0 of 12 left");
    assert_eq!(says("take", &["--up-to"]).await, none);
    assert_eq!(says("take", &["--all"]).await, none);
    assert_eq!(says("take", &["--n", "0"]).await, is(0, "granted, 0 of 12 left"));
    assert_eq!(says("put", &["--n", "5"]).await, is(0, "put 5, 5 of 12 left"));
    assert_eq!(says("put", &["--n", "9"]).await, is(0, "put 7 of 9, 12 of 12 left"));
    assert_eq!(says("watch", &["--n", "12"]).await, is(0, "there, 12 of 12 left"));
    assert_eq!(says("take", &["--all"]).await, is(0, "granted 12, 0 of 12 left"));
    assert_eq!(
        says("watch", &["--wait", "10ms"]).await,
        is(1, "not there, until somebody puts, 0 of 12 left")
    );
    assert_eq!(says("take", &["--wait", "10ms"]).await, none);
    assert_eq!(says("reset", &[]).await, is(0, "reset"));
    assert_eq!(says("peek", &[]).await, is(0, "would be granted, 10 of 12 left"));

    let banned = Bucket { quota: "ban", ..bucket };
    let ban = is(1, "refused, for ever: the quota lets nobody through");
    assert_eq!(told(&banned.of("take", "eve", &[])).await, ban);
    assert_eq!(told(&banned.of("take", "eve", &["--wait", "1h"])).await, ban);
    let unlimited = Bucket { quota: "unlimited", ..banned };
    assert_eq!(told(&unlimited.of("take", "bob", &["--n", "1000000"])).await, is(0, "granted, no limit"));
}

/// The same as JSON.
async fn each_answer_is_json(store: &str) {
    let key = "an odd \"key\": é, \\, \t{}";
    let bucket = Bucket { store, space: "a space", quota: "2/h burst 4" };
    let (code, value) = json(&bucket.of("take", key, &["--n", "3"])).await;
    assert_eq!((code, &value["decision"], &value["tokens"]), (0, &"granted".into(), &3.into()));
    assert_eq!(
        (&value["command"], &value["key"], &value["space"]),
        (&"take".into(), &key.into(), &"a space".into())
    );
    assert_eq!((&value["n"], &value["remaining"], &value["capacity"]), (&3.into(), &1.into(), &4.into()));
    assert_eq!((&value["retry_after"], &value["quota"]), (&0.0.into(), &"2/h burst 4".into()));
    assert_eq!(value["decided_by"], "store");
    assert!((5000.0..=5400.0).contains(&value["reset_after"].as_f64().unwrap()), "{value}");

    let (code, value) = json(&bucket.of("take", key, &["--n", "2"])).await;
    assert_eq!((code, &value["decision"], &value["tokens"]), (1, &"later".into(), &0.into()));
    assert!((1700.0..=1800.0).contains(&value["retry_after"].as_f64().unwrap()), "{value}");
    let (code, value) = json(&bucket.of("peek", key, &["--n", "5"])).await;
    assert_eq!((code, &value["decision"], &value["retry_after"]), (1, &"never".into(), &Value::Null));
    assert_eq!((&value["command"], &value["tokens"]), (&"peek".into(), &Value::Null));
    let (code, value) = json(&bucket.of("take", key, &["--all"])).await;
    assert_eq!(
        (code, &value["n"], &value["tokens"], &value["remaining"]),
        (0, &Value::Null, &1.into(), &0.into())
    );
    let (code, value) = json(&bucket.of("take", key, &["--all"])).await;
    assert_eq!((code, &value["decision"], &value["tokens"]), (1, &"later".into(), &0.into()));
    assert!(value["retry_after"].as_f64().unwrap() > 1700.0, "{value}");
    let (code, value) = json(&bucket.of("put", key, &["--n", "9"])).await;
    assert_eq!(
        (code, &value["decision"], &value["tokens"], &value["n"]),
        (0, &Value::Null, &4.into(), &9.into())
    );
    assert_eq!((&value["remaining"], &value["decided_by"]), (&4.into(), &Value::Null));
    let (code, value) = json(&bucket.of("watch", key, &[])).await;
    assert_eq!((code, &value["decision"], &value["command"]), (0, &"granted".into(), &"watch".into()));
    let (code, value) = json(&bucket.of("reset", key, &[])).await;
    assert_eq!((code, &value["command"], &value["quota"]), (0, &"reset".into(), &Value::Null));
    assert!(["decision", "tokens", "n", "remaining"].iter().all(|field| value[field].is_null()), "{value}");
    // Other keys and spaces are other buckets; what looks like a flag is a key too.
    for (space, key) in [("a space", "--json"), ("a space", ""), ("", key)] {
        let other = Bucket { space, ..bucket };
        let (code, value) = json(&other.of("take", key, &[])).await;
        assert_eq!((code, &value["remaining"], &value["key"]), (0, &3.into(), &key.into()));
    }
}

/// Many at once get what there is, and no more.
async fn takers_at_once_share(store: &str) {
    let bucket = Bucket { store, space: "shared", quota: "stock 5" };
    let takers: Vec<Child> = (0..12).map(|_| spawn(&bucket.of("take", "one", &[]))).collect();
    let mut codes = Vec::new();
    for taker in takers {
        let ended = ended(taker).await;
        assert_eq!(ended.stderr, "");
        codes.push(ended.code);
    }
    codes.sort_unstable();
    assert_eq!(codes, [vec![Some(0); 5], vec![Some(1); 7]].concat());
}

/// A wait that is allowed ends with the tokens; one that is not is refused at once.
async fn waits_are_kept(store: &str) {
    let bucket = Bucket { store, space: "waits", quota: "20/s burst 1" };
    for _ in 0..3 {
        assert_eq!(told(&bucket.of("take", "soon", &["--wait", "1h"])).await.0, 0);
    }
    let slow = Bucket { quota: "1/h", ..bucket };
    assert_eq!(told(&slow.of("take", "late", &["--wait", "1s"])).await.0, 0, "there already");
    let (code, line) = told(&slow.of("take", "late", &["--wait", "30m"])).await;
    assert!(code == 1 && line.starts_with("refused, retry in "), "{line}");
    let (code, line) = told(&slow.of("watch", "late", &["--wait", "10ms"])).await;
    assert!(code == 1 && line.starts_with("not there, retry in "), "{line}");
}

/// What a shell script does: the job runs only if it was granted.
async fn a_job_behind_it_runs_only_if_granted(store: &str) {
    let script = format!(
        "for run in 1 2 3 4; do '{SLUICEGATE}' take nightly --quota 'stock 2' --space script > /dev/null && echo ran; done; true"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("SLUICEGATE_STORE", store).stdin(Stdio::null()).kill_on_drop(true);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    assert_eq!(ended(child).await.stdout, "ran\nran\n");
}

/// Ends a process that a test has started.
async fn signal(child: &Child, name: &str) {
    let kill = format!("kill -s {name} {}", child.id().expect("it runs"));
    assert_eq!(run("sh", &["-c", &kill]).await.code, Some(0));
}
