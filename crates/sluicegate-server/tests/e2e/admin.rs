//! Health and metrics, on a port of their own.
use crate::{get_with, serve, spawn_get, until_idle};
use http::StatusCode;
use sluicegate_testkit::upstream::{Echo, Upstream};

#[tokio::test]
async fn is_healthy_and_ready() {
    let upstream = Upstream::stopped();
    let gateway = serve(&upstream, &[]).await;
    for target in ["/healthz", "/readyz"] {
        assert_eq!(gateway.admin().get(target).await.status, StatusCode::OK, "{target}");
    }
    assert_eq!(gateway.admin().get("/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_public_port_knows_nothing_of_it() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for target in ["/healthz", "/readyz", "/metrics", "/limits"] {
        let echo: Echo = gateway.client().get(target).await.json();
        assert_eq!(echo.target, target, "the upstream's own");
    }
}

#[tokio::test]
async fn the_counters_are_what_was_sent() {
    let upstream = Upstream::start();
    let args =
        ["--limit", "header:x-user stock 3", "--concurrency", "2", "--queue", "1", "--deadline", "60s"];
    let gateway = serve(&upstream, &args).await;
    for user in ["a", "b"] {
        for n in 0..5 {
            let answer = gateway.client().send(get_with("/", "x-user", user)).await;
            assert_eq!(answer.status == StatusCode::OK, n < 3);
        }
    }
    gateway.client().send(get_with("/status/404", "x-user", "c")).await;
    let gated: Vec<_> = (0..2)
        .map(|n| {
            let (client, user) = (gateway.client(), format!("gated {n}"));
            tokio::spawn(async move { client.send(get_with("/gated", "x-user", &user)).await })
        })
        .collect();
    upstream.until("two at the gate", |seen| seen.in_flight == 2).await;
    let waiting = spawn_get(gateway.client(), "/");
    gateway.until_metric("sluicegate_queue_waiting", &[], 1).await;
    gateway.client().send(get_with("/", "x-user", "refused")).await;

    let metrics = gateway.metrics().await;
    let requests = |status| metrics.count("sluicegate_requests_total", &[("status", status)]);
    assert_eq!((requests("200"), requests("404"), requests("429"), requests("503")), (6, 1, 4, 1));
    let refusals = |reason| metrics.count("sluicegate_refusals_total", &[("reason", reason)]);
    assert_eq!((refusals("quota"), refusals("queue_full"), refusals("deadline")), (4, 1, 0));
    assert_eq!(metrics.count("sluicegate_in_flight", &[]), 2);
    gateway.until_metric("sluicegate_connections_open", &[], 3).await;
    for name in ["sluicegate_requests_total", "sluicegate_refusals_total"] {
        let labels = metrics.label_values(name, "key").len() + metrics.label_values(name, "path").len();
        assert_eq!(labels, 0, "no label that a client chooses");
    }

    upstream.open_all();
    for answer in gated {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    until_idle(&gateway).await;
    gateway.until_metric("sluicegate_connections_open", &[], 0).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.count("sluicegate_requests_total", &[]), 15);
    assert_eq!(metrics.count("sluicegate_requests_total", &[("status", "200")]), 9);
}

#[tokio::test]
async fn the_text_is_what_a_scraper_takes() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--limit", "global 100/s"]).await;
    gateway.client().get("/").await;
    let answer = gateway.admin().get("/metrics").await;
    let media = answer.header("content-type").expect("a content type");
    let known = ["text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"];
    assert!(known.iter().any(|known| media.starts_with(known)), "{media}");
    let open_metrics = media.starts_with("application/openmetrics-text");
    assert_eq!(answer.text().trim_end().ends_with("# EOF"), open_metrics, "{media}");
    let metrics = gateway.metrics().await;
    for name in [
        "sluicegate_requests_total",
        "sluicegate_in_flight",
        "sluicegate_queue_waiting",
        "sluicegate_limit_keys",
        "sluicegate_connections_open",
    ] {
        assert!(metrics.has(name), "{name} is missing:\n{}", answer.text());
    }
}
