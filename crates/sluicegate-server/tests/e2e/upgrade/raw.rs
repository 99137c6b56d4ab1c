//! Services and clients that say things early, or what nobody asked for.
use super::{ASK, SWITCH, Service, read_until};
use crate::{serve, serve_url, until_idle};
use http::StatusCode;
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::upstream::{Echo, Upstream};
use sluicegate_testkit::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn what_is_said_right_behind_the_heads_arrives() {
    let mut service = Service::start().await;
    let gateway = serve_url(&service.url(), &["--concurrency", "1", "--queue", "0"]).await;
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(format!("{ASK}\r\nearly")).await;
    let mut served = service.connection().await;
    let head = read_until(&mut served, "\r\n\r\n").await.to_lowercase();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    served.write_all(format!("{SWITCH}at once").as_bytes()).await.unwrap();
    let head = client.read_head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert_eq!(client.read_exact(7).await, "at once");
    assert_eq!(read_until(&mut served, "early").await, "early");

    // One side's end is passed on, and the other goes on.
    client.finish().await;
    assert_eq!(within("the end", served.read(&mut [0; 9])).await.unwrap(), 0);
    gateway.until_metric("sluicegate_in_flight", &[], 1).await;
    served.write_all(b"and so on").await.unwrap();
    assert_eq!(client.read_exact(9).await, "and so on");
    drop(served);
    client.read_to_end().await;
    until_idle(&gateway).await;
}

#[tokio::test]
async fn another_http_is_not_changed_to() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    let ask = async |fields: &str| -> Echo {
        let mut client = Raw::connect(gateway.addr()).await;
        client.write(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
        assert!(client.read_head().await.starts_with("HTTP/1.1 200 "), "{fields}");
        // It goes on as it was.
        let rest = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        client.write(rest).await;
        let (both, _) = client.read_to_end().await;
        let both = String::from_utf8(both).unwrap();
        let (first, second) = both.split_once("HTTP/1.1 200 ").expect("a second answer");
        assert!(second.contains("\r\n\r\n{"), "{both}");
        serde_json::from_str(first).expect("an echo")
    };
    for fields in [
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: HTTP/2.0\r\n",
        "connection: upgrade\r\nupgrade: TLS/1.0\r\n",
        "connection: upgrade\r\nupgrade: websocket, h2c\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n",
        "upgrade: websocket\r\n",
    ] {
        let echo = ask(fields).await;
        for name in ["upgrade", "connection", "http2-settings"] {
            let named = name != "http2-settings" || fields.contains("HTTP2-Settings");
            assert!(echo.header(name).is_empty() || !named, "{fields}: {name} {:?}", echo.header(name));
        }
    }
    let echo = ask("connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n").await;
    assert_eq!((echo.header("upgrade"), echo.header("connection")), (vec!["WebSocket"], vec!["upgrade"]));
}

#[tokio::test]
async fn a_service_that_changes_unasked_is_broken() {
    let mut service = Service::start().await;
    let gateway = serve_url(&service.url(), &["--concurrency", "1", "--queue", "0"]).await;
    let asking = tokio::spawn({
        let client = gateway.client();
        async move { client.get("/").await }
    });
    let mut served = service.connection().await;
    read_until(&mut served, "\r\n\r\n").await;
    served.write_all(SWITCH.as_bytes()).await.unwrap();
    let refused = asking.await.unwrap();
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    refused.problem();
    assert_eq!(within("the end", served.read(&mut [0; 9])).await.unwrap_or(0), 0, "it is closed");
    until_idle(&gateway).await;
}

/// A tunnel has its place until it ends where the number is the operator's own. Where that is found out it has it until its head: who
/// listens is no work. How long it lasts is learned as no answer's time in either.
#[tokio::test]
async fn a_tunnel_is_no_answer_that_takes_long() {
    for (places, held) in [("1", 1), ("adaptive", 0)] {
        let mut service = Service::start().await;
        let args = ["--concurrency", places, "--queue", "0", "--deadline", "60s"];
        let gateway = serve_url(&service.url(), &args).await;
        let limit = gateway.metrics().await.count("sluicegate_concurrency_limit", &[]);
        // More than there are places, one after the other, or at once where they take none.
        let mut tunnels = Vec::new();
        for n in 0..12 {
            let mut client = Raw::connect(gateway.addr()).await;
            client.write(format!("{ASK}\r\n")).await;
            let mut served = service.connection().await;
            read_until(&mut served, "\r\n\r\n").await;
            served.write_all(SWITCH.as_bytes()).await.unwrap();
            assert!(client.read_head().await.starts_with("HTTP/1.1 101 "), "{places}: tunnel {n}");
            gateway.until_metric("sluicegate_in_flight", &[], held).await;
            tunnels.push((client, served));
            if held == 1 {
                assert_eq!(gateway.client().get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
                tunnels.clear();
                until_idle(&gateway).await;
            }
        }
        for (client, served) in &mut tunnels {
            served.write_all(b"still here").await.unwrap();
            assert_eq!(client.read_exact(10).await, "still here");
        }
        drop(tunnels);
        gateway.until_metric("sluicegate_connections_open", &[], 0).await;
        until_idle(&gateway).await;
        let told: serde_json::Value = gateway.admin().get("/limits").await.json();
        let queue = &told["queues"][0];
        assert_eq!(
            (&queue["usual_service_ms"], &queue["limit"]),
            (&0.into(), &limit.into()),
            "{places}: {told}"
        );
        assert!(queue["window"].is_null() || queue["window"]["good"] == 0, "{places}: {told}");
    }
}
