//! Requests that two servers could read two ways never get to the upstream.
use crate::serve;
use sluicegate_testkit::client::Raw;
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

/// A second request, which a server that believes the other framing would see.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

const CLOSES_SOON: &[&str] = &["--idle-timeout", "1s", "--header-timeout", "1s"];

#[tokio::test]
async fn an_ambiguous_request_is_refused_before_the_upstream_sees_it() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, CLOSES_SOON).await;
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let cases = [
        ("two lengths", "content-length: 3\r\ncontent-length: 4", "abcd"),
        ("a list of lengths", "content-length: 3, 4", "abcd"),
        ("a signed length", "content-length: +3", "abc"),
        ("a length that is no number", "content-length: 0x3", "abc"),
        ("a length that overflows", "content-length: 18446744073709551617", "abc"),
        ("chunked not last", "transfer-encoding: chunked, gzip", &chunked),
        ("a coding below the chunks", "transfer-encoding: gzip, chunked", &chunked),
        ("chunked twice", "transfer-encoding: chunked, chunked", &chunked),
        ("an unknown coding", "transfer-encoding: xchunked", &chunked),
        ("a space before the colon", "transfer-encoding : chunked", &chunked),
        ("a folded header", "x-a: 1\r\n transfer-encoding: chunked", &chunked),
        ("a header without a name", ": chunked", ""),
        ("a control byte in a value", "x-a: a\u{0}b", ""),
        ("a second host", "host: b", ""),
    ];
    let mut wrong = Vec::new();
    for (what, headers, body) in cases {
        let request = format!("POST /smuggled HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}");
        let answer = converse(&gateway, &request).await;
        if !is_refused(&answer) || !upstream.targets().is_empty() {
            wrong.push(format!("{what}: {answer}\nand the upstream saw {:?}", upstream.take_targets()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Both framings: RFC 9112, section 6.3, leaves the choice between refusing, and believing the chunks alone and
/// closing; a length must not get through, nor what stands behind the end of the chunks.
#[tokio::test]
async fn of_two_framings_at_most_one_is_believed() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, CLOSES_SOON).await;
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 46\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: nonsense",
    ] {
        let request = format!("POST /one HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n0\r\n\r\n{HIDDEN}");
        let answer = converse(&gateway, &request).await;
        if is_refused(&answer) {
            assert_eq!(upstream.take_targets(), [""; 0], "{headers}");
        } else {
            assert_eq!(upstream.take_targets(), ["/one"], "{headers}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{headers}: {answer}");
            assert!(!answer.contains("[\"content-length\""), "{headers}: {answer}");
        }
    }
}

/// Sends these bytes and returns all that comes back until the gateway closes: at once after a refusal, and when
/// the connection was idle for long enough after anything else.
async fn converse(gateway: &Sluicegate, request: &str) -> String {
    let mut client = Raw::connect(gateway.addr()).await;
    client.write(request).await;
    let (answer, _) = client.read_to_end().await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether this is one refusal and nothing else.
fn is_refused(answer: &str) -> bool {
    let begins = |status| answer.starts_with(&format!("HTTP/1.1 {status} "));
    answer.is_empty()
        || (["400", "501", "505"].iter().any(begins) && answer.matches("HTTP/1.1 ").count() == 1)
}

#[tokio::test]
async fn a_broken_request_line_is_refused() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, CLOSES_SOON).await;
    let mut wrong = Vec::new();
    for head in [
        "GET  / HTTP/1.1\r\nhost: a",
        "GET / HTTP/1.1 x\r\nhost: a",
        "GET /\u{1} HTTP/1.1\r\nhost: a",
        "G(T / HTTP/1.1\r\nhost: a",
        "GET / HTTP/3.7\r\nhost: a",
        "GET nothing HTTP/1.1\r\nhost: a",
        "nonsense\r\nhost: a",
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a",
        "GET / HTTP/1.1\r\nhost: a b",
    ] {
        let answer = converse(&gateway, &format!("{head}\r\n\r\n")).await;
        if !is_refused(&answer) || !upstream.targets().is_empty() {
            wrong.push(format!("{head:?}: {answer}\nand the upstream saw {:?}", upstream.take_targets()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Who reads up to the `@` and who reads behind it see two hosts.
#[tokio::test]
async fn a_host_with_more_in_it_is_refused() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, CLOSES_SOON).await;
    let mut wrong = Vec::new();
    for head in [
        "GET http://u:p@h/ HTTP/1.1\r\nhost: h",
        "GET http://u@h/ HTTP/1.1\r\nhost: h",
        "GET http://good@evil/ HTTP/1.1\r\nhost: good",
        "GET http://h:xyz/ HTTP/1.1\r\nhost: h",
        "GET / HTTP/1.1\r\nhost: a:xyz",
        "GET / HTTP/1.1\r\nhost: a:80x",
        "GET / HTTP/1.1\r\nhost: a:80:81",
        "GET / HTTP/1.1\r\nhost: a:99999",
        "GET / HTTP/1.1\r\nhost: good@evil",
        "GET / HTTP/1.1\r\nhost: good:80@evil",
        "GET / HTTP/1.1\r\nhost: @evil",
        "GET / HTTP/1.1\r\nhost: a/b",
        "GET / HTTP/1.1\r\nhost: a, b",
    ] {
        let answer = converse(&gateway, &format!("{head}\r\n\r\n")).await;
        let refused = answer.starts_with("HTTP/1.1 400 ") && is_refused(&answer);
        if !refused || !upstream.targets().is_empty() {
            wrong.push(format!("{head:?}: {answer}\nand the upstream saw {:?}", upstream.take_targets()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for head in [
        "GET / HTTP/1.1\r\nhost: a:80",
        "GET http://h:81/ HTTP/1.1\r\nhost: h",
        "GET / HTTP/1.1\r\nhost: [::1]:80",
    ] {
        let answer = converse(&gateway, &format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn a_chunk_that_lies_breaks_the_upload() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &[]).await;
    for body in ["3\r\nabcdef\r\n0\r\n\r\n", "zz\r\n", "-1\r\n", "fffffffffffffffff\r\nab"] {
        let aborted = upstream.counters().aborted;
        let finished = upstream.counters().finished;
        let mut client = Raw::connect(gateway.addr()).await;
        client.write("PUT /sink HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
        upstream.until("the beginning of the body", |seen| seen.in_flight == 1).await;
        client.write(body).await;
        let (answer, _) = client.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        let seen = upstream.until("the upload to be given up", |seen| seen.in_flight == 0).await;
        assert_eq!((seen.aborted, seen.finished), (aborted + 1, finished), "{body:?}: never taken for whole");
    }
}
