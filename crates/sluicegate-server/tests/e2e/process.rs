//! What the process makes of the one who started it: a standard error that nobody reads, a low limit of open files.
use crate::{SLUICEGATE, serve};
use http::StatusCode;
use sluicegate_testkit::client::Client;
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;
use tokio::task::JoinSet;

/// Refusals, each of which would leave a record; more than are logged at once, too.
async fn assert_refuses(client: Client) {
    for n in 0..150 {
        let refused = client.get("/").await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "refusal {n}");
        refused.problem();
    }
}

async fn assert_drains(mut gateway: Sluicegate) {
    gateway.signal("TERM").await;
    let status = gateway.wait().await;
    assert_eq!(status.code(), Some(0), "{status}\n{}", gateway.log());
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_is_no_reason_to_stop() {
    for format in ["text", "json"] {
        let upstream = Upstream::start();
        let mut gateway = serve(&upstream, &["--limit", "path stock 2", "--log", format]).await;
        assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
        gateway.close_stderr().await;
        assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
        assert_refuses(gateway.client()).await;
        assert_eq!(gateway.client().get("/else").await.status, StatusCode::OK);
        assert_drains(gateway).await;
    }
}

#[tokio::test]
async fn a_log_that_never_could_be_written_is_no_reason_not_to_start() {
    for redirection in ["2>&-", "2>/dev/full"] {
        let upstream = Upstream::start();
        let (listen, admin) = (Reserved::new(), Reserved::new());
        let script = format!("exec \"$0\" \"$@\" {redirection}");
        let (listen_at, admin_at) = (listen.addr().to_string(), admin.addr().to_string());
        let args =
            ["-c", &script, SLUICEGATE, "serve", "--upstream", &upstream.url(), "--listen", &listen_at];
        let args = [&args[..], &["--admin", &admin_at, "--limit", "global stock 1"]].concat();
        let gateway = Sluicegate::start_mute("sh", &args, listen.addr(), admin.addr()).await;
        assert_eq!(gateway.client().get("/").await.status, StatusCode::OK);
        assert_refuses(gateway.client()).await;
        assert_drains(gateway).await;
    }
}

/// Each request takes two files, one to the client and one to the upstream.
#[tokio::test]
async fn a_low_file_limit_is_raised() {
    const LOW: u64 = 64;
    const MANY: usize = 100;
    let upstream = Upstream::start();
    let script = format!("ulimit -S -n {LOW}; exec \"$0\" \"$@\"");
    let url = upstream.url();
    let serve = ["serve", "--upstream", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let patient = ["--deadline", "60s", "--connect-timeout", "60s"];
    let gateway =
        Sluicegate::start("sh", &[&["-c", &script, SLUICEGATE], &serve[..], &patient].concat()).await;
    let limit = gateway.file_limit();
    assert!(limit > LOW, "the soft limit is still {limit}");
    let mut asked = JoinSet::new();
    for _ in 0..MANY {
        let client = gateway.client();
        asked.spawn(async move { client.get("/gated").await.status });
    }
    upstream.until("all at once at the upstream", |seen| seen.in_flight == MANY).await;
    upstream.open_all();
    assert!(asked.join_all().await.iter().all(|status| *status == StatusCode::OK));
}
