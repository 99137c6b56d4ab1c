//! TLS: what is chosen and shown in the handshake, what becomes of those that come to nothing, and certificates that
//! change.
use crate::programs::{Authority, curl_url, h2load, openssl, tool};
use crate::{SLUICEGATE, serve, until_idle};
use http::{Method, StatusCode};
use sluicegate_testkit::body::{Checker, Script};
use sluicegate_testkit::client::{Http2, Raw, handshake, request};
use sluicegate_testkit::process::{Sluicegate, run};
use sluicegate_testkit::upstream::{Echo, Upstream};
use sluicegate_testkit::wait::eventually;
use std::fs;

const OK: StatusCode = StatusCode::OK;

/// A gateway that speaks TLS, certified by who comes with it.
async fn serve_tls(upstream: &Upstream, args: &[&str]) -> (Sluicegate, Authority) {
    let authority = Authority::new().await;
    let (certificate, key) = authority.certify("gateway").await;
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    (serve(upstream, &[&tls[..], args].concat()).await, authority)
}

fn https(gateway: &Sluicegate, target: &str) -> String {
    format!("https://{}{target}", gateway.addr())
}

#[tokio::test]
async fn openssl_is_shown_the_certificate_and_chooses_the_protocol() {
    let upstream = Upstream::start();
    let (gateway, authority) = serve_tls(&upstream, &[]).await;
    gateway.until_log(&["listening on https://"]).await;
    let (server, roots) = (gateway.addr().to_string(), authority.file());
    let fixed = ["s_client", "-connect", &server, "-CAfile", &roots, "-verify_return_error"];
    let fixed = [&fixed[..], &["-verify_ip", "127.0.0.1"]].concat();
    for (args, chosen) in [
        (&["-alpn", "h2,http/1.1"][..], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1,h2"], "ALPN protocol: h2"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&[], "No ALPN negotiated"),
        (&["-tls1_2", "-alpn", "h2"], "ALPN protocol: h2"),
    ] {
        let said = openssl(&[&fixed[..], args].concat()).await.stdout;
        assert!(said.contains(chosen), "{args:?}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{args:?}: {said}");
        assert!(said.contains("subject=CN = gateway"), "{args:?}: {said}");
    }
    for refused in [&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..], &["-alpn", "spdy/3"]] {
        let ended = run(tool("openssl", "openssl"), &[&fixed[..], refused].concat()).await;
        assert_eq!(ended.code, Some(1), "{refused:?}: {ended:?}");
    }
    gateway.until_metric("sluicegate_tls_handshakes_failed_total", &[], 2).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test]
async fn curl_and_h2load_are_served_by_who_they_trust() {
    let upstream = Upstream::start();
    let (gateway, authority) = serve_tls(&upstream, &["--concurrency", "4", "--queue", "1000"]).await;
    let roots = authority.file();
    for (args, version) in [(&["--http2"][..], "2"), (&["--http1.1"], "1.1"), (&["--tls-max", "1.2"], "2")] {
        let args = [args, &["--cacert", &roots, "--write-out", " %{http_version} %{http_code}"]].concat();
        let said = curl_url(&args, &https(&gateway, "/x")).await.stdout;
        assert!(said.ends_with(&format!(" {version} 200")), "{args:?}: {said}");
        assert!(said.contains(r#"["x-forwarded-proto","https"]"#), "{args:?}: {said}");
    }
    let stranger = run(tool("curl", "curl"), &["--silent", "--noproxy", "*", &https(&gateway, "/")]).await;
    assert_eq!(stranger.code, Some(60), "nobody vouches for it: {stranger:?}");
    curl_url(&["--insecure", "--http2"], &https(&gateway, "/")).await;

    let url = https(&gateway, "/bytes/1000");
    assert_eq!(h2load(&["-n", "1000", "-c", "4", "-m", "25", &url]).await, (1000, 1000));
    until_idle(&gateway).await;
}

#[tokio::test]
async fn bodies_go_both_ways_and_a_client_that_vanishes_is_noticed() {
    const MUCH: u64 = 3_000_001;
    let upstream = Upstream::start();
    let (gateway, authority) = serve_tls(&upstream, &["--concurrency", "1", "--deadline", "60s"]).await;
    let link = Http2::connect_tls(gateway.client(), &authority.roots()).await;
    let answer = link.answer(request(Method::POST, "/mirror", Script::pattern(MUCH))).await;
    let mut checker = Checker::new();
    checker.take(&answer.body);
    assert_eq!((answer.status, checker.len(), checker.intact()), (OK, MUCH, true));
    let echo: Echo = link.get("/").await.json();
    assert_eq!((echo.header("x-forwarded-proto"), echo.header("via")), (vec!["https"], vec!["2 sluicegate"]));

    let mut gone = handshake(gateway.client(), &authority.roots(), &[b"http/1.1"]).await.unwrap();
    let ask = b"GET /gated HTTP/1.1\r\nhost: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut gone, ask).await.unwrap();
    upstream.until("one at the gate", |seen| seen.in_flight == 1).await;
    drop(gone);
    upstream.until("it to be given up", |seen| seen.aborted == 1).await;
    assert_eq!(link.get("/").await.status, OK);
    until_idle(&gateway).await;
}

#[tokio::test]
async fn who_speaks_no_tls_disturbs_nobody() {
    let upstream = Upstream::start();
    let (gateway, authority) = serve_tls(&upstream, &[]).await;
    let link = Http2::connect_tls(gateway.client(), &authority.roots()).await;
    let rubbish: Vec<u8> = (0..2000_u32).map(|n| (n * 37 % 251) as u8).collect();
    let plain = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for said in [&plain[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &rubbish] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(said).await;
        let (answer, _) = client.read_to_end().await;
        assert!(!answer.starts_with(b"HTTP/"), "nothing is said in the clear");
    }
    // One who leaves in the middle of it, and one who finds nobody it trusts.
    let mut client = Raw::connect(gateway.addr()).await;
    client.write([22, 3, 1, 2, 0, 1]).await;
    drop(client);
    let other = Authority::new().await;
    handshake(gateway.client(), &other.roots(), &[b"h2"]).await.expect_err("another authority");
    gateway.until_metric("sluicegate_tls_handshakes_failed_total", &[], 5).await;
    assert_eq!(link.get("/").await.status, OK);
    assert_eq!(upstream.counters().total, 1);
    gateway.until_metric("sluicegate_connections_open", &[], 1).await;
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_cut() {
    let upstream = Upstream::start();
    // Only the bound of a header is short.
    let (gateway, _authority) =
        serve_tls(&upstream, &["--header-timeout", "300ms", "--idle-timeout", "10m"]).await;
    for said in [&[][..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(said).await;
        let (answer, _) = client.read_to_end().await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    gateway.until_metric("sluicegate_connections_timed_out_total", &[], 3).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_named_before_anything_is_served() {
    let authority = Authority::new().await;
    let (certificate, key) = authority.certify("one").await;
    let (_, other_key) = authority.certify("other").await;
    let folder = &authority.folder;
    let (missing, empty) = (folder.path("missing.pem"), folder.write("empty.pem", ""));
    let rubbish =
        folder.write("rubbish.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let cases = [
        (&missing, &key, &missing),
        (&empty, &key, &empty),
        (&rubbish, &key, &rubbish),
        (&certificate, &missing, &missing),
        (&certificate, &empty, &empty),
        (&certificate, &certificate, &certificate),
        (&certificate, &other_key, &other_key),
    ];
    for (certificate, key, named) in cases {
        let tls = ["--tls-certificate", certificate, "--tls-key", key];
        let ended = run(SLUICEGATE, &[&["serve", "--listen", "127.0.0.1:0"][..], &tls].concat()).await;
        assert_eq!(ended.code, Some(2), "{tls:?}: {ended:?}");
        assert!(ended.stderr.contains(named.as_str()), "{tls:?}: {ended:?}");
        assert!(!ended.stderr.contains("listening"), "{tls:?}: {ended:?}");
    }
    for half in [["--tls-certificate", &certificate], ["--tls-key", &key]] {
        let ended = run(SLUICEGATE, &[&["serve", "--listen", "127.0.0.1:0"][..], &half].concat()).await;
        assert_eq!(ended.code, Some(2), "{half:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_who_connects_then() {
    let upstream = Upstream::start();
    let (old, new) = (Authority::new().await, Authority::new().await);
    let (certificate, key) = old.certify("gateway").await;
    let config = format!(
        "admin = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificate = \"gateway.pem\", key = \"gateway.key\" }}\n[upstream.main]\nurl = \"{}\"\n",
        upstream.url()
    );
    let file = old.folder.write("gateway.toml", config);
    let gateway = Sluicegate::start(SLUICEGATE, &["serve", "--config", &file]).await;
    let link = Http2::connect_tls(gateway.client(), &old.roots()).await;
    assert_eq!(link.get("/").await.status, OK);

    // What can't be shown changes nothing.
    let good = fs::read(&certificate).unwrap();
    fs::write(&certificate, "").unwrap();
    gateway.signal("HUP").await;
    gateway.until_metric("sluicegate_config_last_reload_ok", &[], 0).await;
    gateway.until_log(&["not changed", &certificate]).await;
    handshake(gateway.client(), &old.roots(), &[b"h2"]).await.expect("as before");
    fs::write(&certificate, good).unwrap();
    gateway.signal("HUP").await;
    gateway.until_metric("sluicegate_config_last_reload_ok", &[], 1).await;

    let (next, next_key) = new.certify("gateway").await;
    for signalled in [true, false] {
        // The other one's turn, by a signal first, then by the file alone.
        let (trusted, left, from) = match signalled {
            true => (&new, &old, [next.clone(), next_key.clone()]),
            false => (&old, &new, [old.folder.path("kept.pem"), old.folder.path("kept.key")]),
        };
        if signalled {
            fs::copy(&certificate, old.folder.path("kept.pem")).unwrap();
            fs::copy(&key, old.folder.path("kept.key")).unwrap();
        }
        fs::copy(&from[0], &certificate).unwrap();
        fs::copy(&from[1], &key).unwrap();
        if signalled {
            gateway.signal("HUP").await;
        }
        eventually("the other certificate", async || {
            handshake(gateway.client(), &trusted.roots(), &[b"h2"]).await.ok()
        })
        .await;
        handshake(gateway.client(), &left.roots(), &[b"h2"]).await.expect_err("no longer shown");
        assert_eq!(link.get("/").await.status, OK, "who was connected stays so");
    }
    gateway.until_metric("sluicegate_connections_open", &[], 1).await;
}
