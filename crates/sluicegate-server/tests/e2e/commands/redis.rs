//! On real servers of Redis: one, one that wants TLS and a password, one that is a Cluster, and none.
use super::{
    Bucket, SECRET, a_job_behind_it_runs_only_if_granted, each_answer_is_json,
    each_command_does_what_it_says, refused, server, spawn, takers_at_once_share, told, waits_are_kept,
};
use sluicegate_testkit::port::Reserved;
use sluicegate_testkit::redis_server::{Server, eventually};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

#[tokio::test]
async fn each_command_does_what_it_says_on_one_server() {
    each_command_does_what_it_says(&server().url()).await;
}

#[tokio::test]
async fn each_answer_is_json_on_one_server() {
    each_answer_is_json(&server().url()).await;
}

#[tokio::test]
async fn takers_at_once_share_a_server() {
    takers_at_once_share(&server().url()).await;
}

#[tokio::test]
async fn waits_are_kept_on_a_server() {
    waits_are_kept(&server().url()).await;
}

#[tokio::test]
async fn a_job_behind_it_runs_only_if_granted_by_a_server() {
    a_job_behind_it_runs_only_if_granted(&server().url()).await;
}

/// Who watches is told of what another process puts.
#[tokio::test]
async fn a_put_ends_a_watch_and_a_wait() {
    let url = server().url();
    let bucket = Bucket { store: &url, space: "puts", quota: "stock 1 max 9" };
    assert_eq!(told(&bucket.of("take", "ann", &[])).await.0, 0);
    let watching = spawn(&bucket.of("watch", "ann", &["--n", "2"]));
    let waiting = spawn(&bucket.of("take", "ann", &["--n", "3", "--wait", "1h"]));
    assert_eq!(told(&bucket.of("put", "ann", &["--n", "3"])).await.1.split(',').next(), Some("put 3"));
    let waited = super::ended(waiting).await;
    assert_eq!((waited.code, waited.stdout.as_str()), (Some(0), "granted, 0 of 9 left\n"));
    // The other may have taken them before it looked: tokens that are watched are nobody's.
    told(&bucket.of("put", "ann", &["--n", "2"])).await;
    assert_eq!(super::ended(watching).await.code, Some(0));
}

#[tokio::test]
async fn by_tls_with_a_certificate_and_a_password() {
    let guide = include_str!("../../../../sluicegate-redis/guide/sharing_a_quota.md");
    let server = Server::start_encrypted(&[], guide, None);
    let file = |name: &str| server.folder.join(name).display().to_string();
    let certified =
        format!("prefix=test&ca={}&cert={}&key={}", file("ca.pem"), file("client.pem"), file("client.key"));
    let url = format!("{}?{certified}", server.url());
    let bucket = Bucket { store: &url, space: "tls", quota: "stock 2" };
    assert_eq!(told(&bucket.of("take", "ann", &[])).await, (0, "granted, 1 of 2 left".to_owned()));
    // Another password, no password, another authority, no TLS, in a database there is not.
    let wrong = url.replace(":secret@", &format!(":{SECRET}@"));
    let (code, said) = refused(&Bucket { store: &wrong, ..bucket }.of("take", "ann", &[])).await;
    assert!(code == 3 && said.contains("does not let user `limits` in"), "{said}");
    let plain = format!("redis://limits:{SECRET}@127.0.0.1:{}", server.port);
    let nowhere = url.replace("/2?", "/2000?");
    let system = server.url();
    for url in [&plain, &nowhere, &system] {
        let (code, said) =
            refused(&Bucket { store: url, ..bucket }.of("take", "ann", &["--timeout", "5s"])).await;
        assert!(code == 3 && said.starts_with("sluicegate: the "), "{url}: {said}");
    }
}

/// Says something to a server, as a person would with a terminal, and returns the lines it answers.
pub(super) fn say(server: &Server, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().expect("an answer");
    // A text has its length before it; a list, here of a name and a number, has its own.
    let more = if first.starts_with(['$', '*']) { 3 } else { 0 };
    [first].into_iter().chain(lines.take(more)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn in_a_cluster() {
    let server = Server::start(&["cluster-enabled yes", "cluster-port BUS"]);
    let url = format!("redis+cluster://127.0.0.1:{0},127.0.0.1:{0}", server.port);
    let bucket = Bucket { store: &url, space: "cluster", quota: "stock 2" };
    assert_eq!(say(&server, "CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
    eventually("a Cluster that works", || {
        say(&server, "CLUSTER INFO").contains("cluster_state:ok").then_some(())
    });
    assert_eq!(told(&bucket.of("take", "ann", &[])).await, (0, "granted, 1 of 2 left".to_owned()));
    assert_eq!(told(&bucket.of("take", "ann", &["--n", "2", "--wait", "10ms"])).await.0, 1);
    // Where there is none, it is told so.
    let alone = super::server().url().replace("redis://", "redis+cluster://");
    let (code, said) = refused(&Bucket { store: &alone, ..bucket }.of("take", "ann", &[])).await;
    assert!(code == 3 && said.contains("it is no Cluster"), "{said}");
}

#[tokio::test]
async fn a_store_that_is_away_is_told_within_the_timeout() {
    let nobody = Reserved::new();
    let url = format!("redis://ann:{SECRET}@{}", nobody.addr());
    let bucket = Bucket { store: &url, space: "away", quota: "5/s" };
    for command in ["take", "put", "peek", "watch", "reset"] {
        let (code, said) = refused(&bucket.of(command, "ann", &["--timeout", "100ms"])).await;
        assert!(code == 3 && said.contains("can't be reached"), "{command}: {said}");
    }
    let (code, _) = refused(&bucket.of("take", "ann", &["--wait", "1h"])).await;
    assert_eq!(code, 3);
    // One that says nothing: the usual timeout, and one of the address.
    let server = Server::start(&[]);
    server.freeze(true);
    let frozen = format!("redis://:{SECRET}@127.0.0.1:{}", server.port);
    let slow = Bucket { store: &frozen, ..bucket };
    let (code, said) = refused(&slow.of("take", "ann", &["--timeout", "50ms"])).await;
    assert!(code == 3 && said.contains("has not answered within 50ms"), "{said}");
    let (code, said) = refused(&["take", "ann", "--quota", "5/s", "--store", &frozen]).await;
    assert!(code == 3 && said.contains("has not answered within 1s"), "{said}");
    let said_so = format!("{frozen}?timeout=70ms");
    let (code, said) = refused(&["take", "ann", "--quota", "5/s", "--store", &said_so]).await;
    assert!(code == 3 && said.contains("has not answered within 70ms"), "{said}");
    server.freeze(false);
    let url = server.url();
    let (code, line) = told(&Bucket { store: &url, ..bucket }.of("take", "bob", &[])).await;
    assert!(code == 0, "{line}");
}

#[tokio::test]
async fn what_somebody_else_keeps_there_is_no_bucket() {
    assert_eq!(say(server(), "SET sluicegate:{3:ann}foreign letter"), "+OK");
    let url = server().url();
    let bucket = Bucket { store: &url, space: "foreign", quota: "5/s" };
    let (code, said) = refused(&bucket.of("take", "ann", &[])).await;
    assert!(code == 3 && said.contains("`sluicegate:{3:ann}foreign` holds"), "{said}");
    let elsewhere = format!("{url}?prefix=other");
    assert_eq!(told(&Bucket { store: &elsewhere, ..bucket }.of("take", "ann", &[])).await.0, 0);
}
