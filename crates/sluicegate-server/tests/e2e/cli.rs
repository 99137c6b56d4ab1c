//! The command line: what is wrong is said with the flag, the value, and what would be right.
use crate::{SLUICEGATE, serve};
use sluicegate_testkit::process::run;
use sluicegate_testkit::upstream::Upstream;
use sluicegate_testkit::wait::eventually;

/// Arguments that make `serve` start, but for what a test adds.
const FINE: &[&str] =
    &["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin", ADMIN];
const ADMIN: &str = "127.0.0.2:0";

#[tokio::test]
async fn a_bad_value_is_named_with_what_would_be_right() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("--limit", "client.ip 100", &["100/s", "stock 100"]),
        ("--limit", "client.ip", &["100/s"]),
        ("--limit", "100/s", &["client.ip"]),
        ("--limit", "client.up 100/s", &["client.ip"]),
        ("--limit", "header: 100/s", &["header:NAME"]),
        ("--limit", "client.ip+ 100/s", &[]),
        ("--limit", "client.ip 0/s", &[]),
        ("--limit", "client.ip 100/fortnight", &[]),
        ("--limit", "client.ip 99999999999999999999999/s", &[]),
        ("--limit", "", &[]),
        ("--concurrency", "0", &[]),
        ("--concurrency", "many", &[]),
        ("--concurrency", "adaptve", &["adaptive"]),
        ("--queue", "-1", &[]),
        ("--queue-wait", "0s", &["1ms"]),
        ("--queue-order", "lifo", &["codel-newest"]),
        ("--queue-target", "0s", &["1ms"]),
        ("--queue-full", "wait", &["drop-oldest"]),
        ("--queue-fair", "client", &["client.ip"]),
        ("--queue-classes", "high", &["high=8"]),
        ("--queue-classes", "high=0", &["`high=0`", "1 to 1000"]),
        ("--priority-header", "cookie", &["x-priority"]),
        ("--priority-from", "all", &["trusted-proxies"]),
        ("--max-keys", "x", &[]),
        ("--deadline", "2", &["2s"]),
        ("--deadline", "soon", &["s"]),
        ("--deadline", "0s", &[]),
        ("--grace", "10", &["2s"]),
        ("--body-stall-timeout", "1", &["2s"]),
        ("--header-timeout", "1", &["2s"]),
        ("--idle-timeout", "1", &["2s"]),
        ("--reject-status", "200", &["400", "599"]),
        ("--reject-status", "99", &["400", "599"]),
        ("--listen", "localhost", &["127.0.0.1:"]),
        ("--admin", "nonsense", &["127.0.0.1:"]),
        ("--retry", "1", &["2"]),
        ("--retry", "many", &[]),
        ("--hedge", "soon", &["50ms", "p50"]),
        ("--hedge", "p30", &["p50"]),
        ("--hedge", "60s", &["30s"]),
        ("--attempt-timeout", "60s", &["30s"]),
        ("--replay", "1GiB", &["16MiB"]),
        ("--deadline-header", "host", &["x-request-timeout-ms"]),
        ("--upstream", "ftp://a", &["http://"]),
        ("--upstream", "127.0.0.1:9000", &["http://127.0.0.1:9000"]),
        ("--upstream", "http://", &[]),
        ("--upstream", "http://a:99999", &[]),
    ];
    // An address in use: what is accepted ends with exit code 1 instead of serving for ever.
    let upstream = Upstream::start();
    let taken = upstream.addr().to_string();
    let mut wrong = Vec::new();
    for (flag, value, right) in cases {
        let mut args: Vec<&str> = FINE.iter().map(|arg| if *arg == ADMIN { &taken } else { *arg }).collect();
        // A flag that comes once must not come twice.
        if let Some(at) = args.iter().position(|arg| arg == flag) {
            args.drain(at..at + 2);
        }
        let joined = format!("{flag}={value}");
        args.push(&joined);
        let ended = run(SLUICEGATE, &args).await;
        let said = &ended.stderr;
        let missing = right.iter().chain([flag, value]).filter(|part| !said.contains(**part));
        let missing: Vec<_> = missing.collect();
        if ended.code != Some(2) || !missing.is_empty() || said.contains("panicked") {
            wrong.push(format!("{joined}: {:?}, without {missing:?}: {said}", ended.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_has_no_effect_is_told_by_its_flag() {
    let upstream = Upstream::start();
    for (flags, said) in [
        (
            &["--concurrency", "8", "--queue-target", "9ms"][..],
            ["`--queue-target`: ", "expected a `--queue-order` of `codel` "],
        ),
        (
            &["--queue-fair", "client.ip"],
            ["`--queue-fair`: without a `--concurrency`", "expected a `--concurrency`"],
        ),
        (
            &["--reject-status", "429"],
            ["`--reject-status`: without a `--concurrency`", "expected a `--concurrency`"],
        ),
    ] {
        let gateway = serve(&upstream, flags).await;
        gateway.until_log(&[&["WARN"], &said[..]].concat()).await;
    }
}

#[tokio::test]
async fn a_missing_or_misspelt_flag_is_named() {
    let ended = run(SLUICEGATE, &[]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("serve"), "{}", ended.stderr);
    let ended = run(SLUICEGATE, &[FINE, &["--limt", "client.ip 100/s"]].concat()).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("--limt") && ended.stderr.contains("--limit"), "{}", ended.stderr);
    let ended = run(SLUICEGATE, &["sevre"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("serve"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for flag in ["--listen", "--admin"] {
        let taken = gateway.addr().to_string();
        let mut args: Vec<&str> = FINE.to_vec();
        let at = args.iter().position(|arg| *arg == flag).expect("a flag that is always there");
        args[at + 1] = &taken;
        let ended = run(SLUICEGATE, &args).await;
        assert_eq!(ended.code, Some(1), "{flag}: {}", ended.stderr);
        assert!(ended.stderr.contains(&taken), "{flag}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    for (args, says) in [
        (&["--help"][..], "serve"),
        (&["serve", "--help"], "--limit"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ended = run(SLUICEGATE, args).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.contains(says), "{args:?}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn a_log_in_a_file_is_plain_text() {
    let gateway = serve(&Upstream::stopped(), &[]).await;
    for _ in 0..3 {
        gateway.client().get("/").await;
    }
    eventually("the failures in the log", async || (gateway.log().lines().count() >= 5).then_some(())).await;
    assert!(!gateway.log().contains('\u{1b}'), "escape codes are for terminals:\n{}", gateway.log());
}

#[tokio::test]
async fn a_log_id_is_found_in_the_log() {
    let gateway = serve(&Upstream::stopped(), &["--log", "json"]).await;
    let problem = gateway.client().get("/").await.problem();
    let id = problem.instance.trim_start_matches("urn:uuid:").to_owned();
    let line = eventually("the refusal's record", async || {
        gateway.log().lines().find(|line| line.contains(&id)).map(str::to_owned)
    })
    .await;
    let record: serde_json::Value = serde_json::from_str(&line).expect("a record is one JSON object");
    assert!(record.is_object() && !line.contains('\u{1b}'), "{line}");
    // All of it, field by field, and none of it in what the client was told.
    let fields = &record["fields"];
    assert_eq!((&fields["id"], &fields["code"]), (&id.as_str().into(), &"upstream_unreachable".into()));
    assert_eq!(
        (&fields["process"], &fields["build"]),
        (&"sluicegate".into(), &env!("CARGO_PKG_VERSION").into())
    );
    for (field, part) in [
        ("born", "T"),
        ("origin", "gateway "),
        ("causes", "can't connect to the upstream"),
        ("context", "route="),
        ("fingerprint", ""),
        ("host", ""),
    ] {
        let said = fields[field].as_str().unwrap_or_else(|| panic!("{field} in {line}"));
        assert!(said.contains(part) && !said.is_empty(), "{field} in {line}");
        assert!(!problem.detail.contains(said), "{field} in {}", problem.detail);
    }
    assert!(fields["pid"].is_u64(), "{line}");
}
