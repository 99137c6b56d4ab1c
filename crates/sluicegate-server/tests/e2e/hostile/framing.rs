//! Requests that two servers could read two ways, each with a second request hidden where one of the two would see it. What
//! counts is what the upstream saw.

use super::{CONNECTION, Siege};
use crate::{serve, until_idle};
use sluicegate_testkit::client::{Ending, Raw};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::Upstream;

/// What whoever reads the framing another way takes for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Refused, and the connection closed, before the upstream saw anything of it.
    Refused,
    /// Its head was right, so the upstream may have seen it begin; it is never taken for whole, and the connection is closed.
    Broken,
    /// One of two readings that RFC 9112 allows: passed on in the one plain form, as one request, and the connection closed.
    OneAndClosed,
    /// The same without closing: a single LF may end a line (RFC 9112, section 2.2), and what is passed on ends in CRLF.
    One,
}
use Outcome::{Broken, One, OneAndClosed, Refused};

/// A POST with these header lines, and what follows them.
fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /sink HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}").into_bytes()
}

/// A body in chunks, as it stands behind a right head.
fn chunks(body: &str) -> Vec<u8> {
    post("transfer-encoding: chunked", body)
}

fn cases() -> Vec<(&'static str, Outcome, Vec<u8>)> {
    let zero = format!("0\r\n\r\n{HIDDEN}");
    let te = |coding: &str| post(&format!("transfer-encoding: {coding}"), &zero);
    let cl = |length: &str| post(&format!("content-length: {length}"), &format!("abc{HIDDEN}"));
    let field = |line: &str| format!("GET /seen HTTP/1.1\r\nhost: a\r\n{line}\r\n\r\n{HIDDEN}").into_bytes();
    let megabytes = format!("1;{}\r\na\r\n{zero}", "x".repeat(3 << 20));
    let many = format!("{}{zero}", "1;xxxxxxxxxxxxxxxx\r\na\r\n".repeat(100_000));
    vec![
        // Two framings.
        ("a length and chunks", OneAndClosed, post("content-length: 5\r\ntransfer-encoding: chunked", &zero)),
        ("chunks and a length", OneAndClosed, post("transfer-encoding: chunked\r\ncontent-length: 5", &zero)),
        (
            "two lengths that differ",
            Refused,
            post("content-length: 3\r\ncontent-length: 36", &format!("abc{HIDDEN}")),
        ),
        ("a list of lengths that differ", Refused, cl("3, 36")),
        ("a length with a plus", Refused, cl("+3")),
        ("a negative length", Refused, cl("-3")),
        ("a length in hexadecimal", Refused, cl("0x3")),
        ("a length with a space", Refused, cl("3 6")),
        ("a length that overflows", Refused, cl("18446744073709551619")),
        ("an empty length", Refused, cl("")),
        // Codings.
        ("identity, chunked", Refused, te("identity, chunked")),
        ("chunked, identity", Refused, te("chunked, identity")),
        ("chunked twice", Refused, te("chunked, chunked")),
        ("chunked on two lines", Refused, te("chunked\r\ntransfer-encoding: chunked")),
        ("an unknown coding", Refused, te("xchunked")),
        ("chunked in quotes", Refused, te("\"chunked\"")),
        ("a vertical tab before chunked", Refused, te("\u{b}chunked")),
        ("chunked with a parameter", Refused, te("chunked;q=1")),
        (
            "HTTP/1.0 with chunks",
            Refused,
            format!("POST /sink HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n{zero}").into_bytes(),
        ),
        // Lines.
        ("a folded line", Refused, field("x-a: b\r\n transfer-encoding: chunked")),
        ("a folded line with a tab", Refused, field("x-a: b\r\n\tc")),
        (
            "a first line that is folded",
            Refused,
            format!("GET /seen HTTP/1.1\r\n host: a\r\n\r\n{HIDDEN}").into_bytes(),
        ),
        ("a space before the colon", Refused, field("transfer-encoding : chunked")),
        ("a tab before the colon", Refused, field("transfer-encoding\t: chunked")),
        ("no colon", Refused, field("transfer-encoding chunked")),
        ("no name", Refused, field(": chunked")),
        ("a NUL in a value", Refused, field("x-a: b\0c")),
        ("a NUL in a name", Refused, field("x-a\0: b")),
        ("a CR in a value", Refused, field("x-a: b\rc: d")),
        ("a CR before CRLF", Refused, field("x-a: b\r")),
        ("a control byte in a value", Refused, field("x-a: b\u{1}c")),
        ("LF and LF behind a value", One, b"GET /seen HTTP/1.1\nhost: a\n\n".to_vec()),
        (
            "a CR alone as a line's end",
            Refused,
            format!("GET /seen HTTP/1.1\rhost: a\r\r{HIDDEN}").into_bytes(),
        ),
        // Chunks.
        ("a size that overflows", Broken, chunks(&format!("ffffffffffffffff1\r\nabc\r\n{zero}"))),
        ("a size of 2^64", Broken, chunks(&format!("10000000000000000\r\nabc\r\n{zero}"))),
        ("a negative size", Broken, chunks(&format!("-1\r\nabc\r\n{zero}"))),
        ("a size with a plus", Broken, chunks(&format!("+3\r\nabc\r\n{zero}"))),
        ("a size with 0x", Broken, chunks(&format!("0x3\r\nabc\r\n{zero}"))),
        ("an empty size", Broken, chunks(&format!("\r\nabc\r\n{zero}"))),
        ("a size with a space inside", Broken, chunks(&format!("3 3\r\nabc\r\n{zero}"))),
        ("no CRLF behind a chunk", Broken, chunks(&format!("3\r\nabc{zero}"))),
        ("a chunk longer than it says", Broken, chunks(&format!("3\r\nabcd\r\n{zero}"))),
        ("LF alone behind a size", Broken, chunks(&format!("3\nabc\r\n{zero}"))),
        ("LF alone behind a chunk", Broken, chunks(&format!("3\r\nabc\n{zero}"))),
        ("CR alone behind a size", Broken, chunks(&format!("3\rabc\r\n{zero}"))),
        ("an LF in an extension", Broken, chunks(&format!("3;a\nb\r\nabc\r\n{zero}"))),
        ("an extension of 3 MiB", Broken, chunks(&megabytes)),
        ("100,000 small extensions", Broken, chunks(&many)),
        ("trailers of 1 MiB", Broken, chunks(&format!("0\r\nx-a: {}\r\n\r\n{HIDDEN}", "a".repeat(1 << 20)))),
        ("a trailer without a colon", Broken, chunks(&format!("0\r\nabc\r\n\r\n{HIDDEN}"))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_smuggled() {
    let upstream = Upstream::start();
    let timeouts = ["--idle-timeout", "1s", "--header-timeout", "1s", "--body-stall-timeout", "1s"];
    let gateway = serve(&upstream, &timeouts).await;
    let siege = Siege::begin("smuggling", &gateway).await;
    let cases = cases();
    let mut tries = Vec::new();
    for (what, wanted, request) in &cases {
        // Behind nothing, and behind a request that was right.
        for before in ["", "GET /before HTTP/1.1\r\nhost: a\r\n\r\n"] {
            // The upstream may hear of it later than the client: each try has targets of its own.
            let number = format!("/{}-", tries.len());
            let request = numbered(request, &number);
            tries.push((what, *wanted, before, number, converse(&gateway, before, &request).await));
        }
    }
    let is_hidden = |target: &String| target.starts_with("/hidden");
    let hidden = upstream.targets().iter().filter(|target| is_hidden(target)).count();
    let outcome = format!("{} tricks, each tried twice; {hidden} hidden requests were seen", cases.len());
    siege.end(tries.len() as u64 * CONNECTION, &outcome).await;
    until_idle(&gateway).await;
    let settled = upstream.until("the upstream to be idle", |seen| seen.in_flight == 0).await;

    let targets = upstream.targets();
    let (mut wrong, mut broken) = (Vec::new(), 0);
    for (what, wanted, before, number, came) in &tries {
        let of_it = targets.iter().filter(|target| target.contains(number.as_str()));
        let seen: Vec<&str> =
            of_it.filter_map(|target| target.strip_prefix('/')?.split('/').next()).collect();
        let fits = match (wanted, &seen[..]) {
            (Broken, ["sink"]) => {
                broken += 1;
                came.is_refusal()
            }
            (Refused | Broken | OneAndClosed, []) => came.is_refusal(),
            (OneAndClosed, ["sink"]) => came.text.starts_with("HTTP/1.1 200 ") && came.answers == 1,
            (One, ["seen"]) => came.answers == 1,
            _ => false,
        };
        if !fits {
            wrong.push(format!(
                "{what}, behind {before:?}: {wanted:?}, but {came:?}; the upstream saw {seen:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n\n"));
    assert_eq!(targets.iter().filter(|target| is_hidden(target)).count(), 0);
    assert_eq!(settled.aborted, broken, "what the upstream saw begin, and was broken, it saw break off");
}

/// The same with a number in each of its targets, which do not end where they did.
fn numbered(request: &[u8], number: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let mut text = text.into_owned();
    for target in ["/sink ", "/seen ", "/hidden "] {
        text = text.replace(target, &format!("{}{number} ", target.trim_end()));
    }
    text.into_bytes()
}

/// What came back until the gateway closed.
#[derive(Debug)]
struct Came {
    text: String,
    answers: usize,
    _ending: Ending,
}

impl Came {
    /// One refusal, or a connection that was closed without one.
    fn is_refusal(&self) -> bool {
        let begins = |status| self.text.starts_with(&format!("HTTP/1.1 {status} "));
        self.answers == 0
            || self.answers == 1 && [400, 408, 413, 431, 501, 502].iter().any(|status| begins(*status))
    }
}

/// Sends this behind a request that is right, and reads until the gateway closes.
async fn converse(gateway: &Sluicegate, before: &str, request: &[u8]) -> Came {
    let mut client = Raw::connect(gateway.addr()).await;
    if !before.is_empty() {
        client.write(before).await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        client.read_exact(length.parse().unwrap()).await;
    }
    // It may be refused before all of it is read.
    let _ = client.try_write(request).await;
    let (text, ending) = client.read_to_end().await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let answers = text.matches("HTTP/1.1 ").count() + text.matches("HTTP/1.0 ").count();
    Came { text, answers, _ending: ending }
}
