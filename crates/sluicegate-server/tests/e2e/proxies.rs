//! Who a client is taken for behind proxies: the last address that no trusted one has written, and nobody's claim.
use crate::{SLUICEGATE, get_with, serve, serve_url};
use http::{Request, StatusCode};
use sluicegate_testkit::body::Script;
use sluicegate_testkit::client::{Client, get};
use sluicegate_testkit::process::Sluicegate;
use sluicegate_testkit::upstream::{Echo, Upstream};
use std::net::Ipv4Addr;

const OK: StatusCode = StatusCode::OK;
const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
const ONE_EACH: &[&str] = &["--limit", "client.ip stock 1"];

/// A request with these lines of a field.
fn said(name: &'static str, lines: &[&str]) -> Request<Script> {
    let mut request = get("/");
    for line in lines {
        request.headers_mut().append(name, line.parse().unwrap());
    }
    request
}

/// What each of these lines makes of a client that is asked for the first time, and of the same client again.
async fn assert_clients(gateway: &Sluicegate, name: &'static str, cases: &[(&[&str], StatusCode)]) {
    for (lines, expected) in cases {
        let answer = gateway.client().send(said(name, lines)).await;
        assert_eq!(answer.status, *expected, "{name}: {lines:?}");
    }
}

#[tokio::test]
async fn the_last_address_that_is_no_proxy_s_is_the_client() {
    let upstream = Upstream::start();
    let trusted = ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8"];
    let gateway = serve(&upstream, &[&trusted[..], ONE_EACH].concat()).await;
    assert_clients(
        &gateway,
        "x-forwarded-for",
        &[
            (&["9.9.9.9"], OK),
            (&["9.9.9.9"], TOO_MANY),
            // Whatever it writes itself stands to the left.
            (&["1.2.3.4, 9.9.9.9"], TOO_MANY),
            (&["1.2.3.4", "9.9.9.9"], TOO_MANY),
            (&["127.0.0.1, 10.0.0.1, 9.9.9.9"], TOO_MANY),
            (&["\"1.2.3.4, 9.9.9.9"], TOO_MANY),
            (&["9.9.9.9:4711"], TOO_MANY),
            (&["::ffff:9.9.9.9"], TOO_MANY),
            // A chain of trusted ones, in one line or several.
            (&["9.9.9.9, 10.0.0.1, 10.0.0.2"], TOO_MANY),
            (&["9.9.9.9, 10.0.0.1", "10.0.0.2"], TOO_MANY),
            (&["1.2.3.4, 10.0.0.1, 10.0.0.2"], OK),
            (&["1.2.3.4, 11.0.0.1, 10.0.0.2"], OK),
            (&["11.0.0.1"], TOO_MANY),
            // Where a proxy does not know, it is the proxy itself.
            (&["1.1.1.1, unknown"], OK),
            (&["2.2.2.2, unknown"], TOO_MANY),
            (&[], TOO_MANY),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_forwarded_field_is_read_alike_where_it_is_the_one() {
    let upstream = Upstream::start();
    let trusted = ["--trusted-proxy", "127.0.0.1", "--forwarded-header", "forwarded"];
    let gateway = serve(&upstream, &[&trusted[..], ONE_EACH].concat()).await;
    assert_clients(
        &gateway,
        "forwarded",
        &[
            (&["for=9.9.9.9;proto=https"], OK),
            (&["For=\"9.9.9.9:80\";by=1.1.1.1"], TOO_MANY),
            (&["for=1.2.3.4, for=9.9.9.9"], TOO_MANY),
            (&["for=\"1.2.3.4, for=9.9.9.9"], TOO_MANY),
            (&["for=9.9.9.9, for=127.0.0.1"], TOO_MANY),
            (&["for=\"[2001:db8::1]:80\""], OK),
            (&["for=\"[2001:db8::2]\""], TOO_MANY),
            (&["for=_hidden"], OK),
            (&["for=_another"], TOO_MANY),
        ],
    )
    .await;
    let other = gateway.client().send(get_with("/", "x-forwarded-for", "7.7.7.7")).await;
    assert_eq!(other.status, TOO_MANY, "the other field says nothing here");
}

#[tokio::test]
async fn who_is_not_trusted_is_taken_for_itself_and_not_repeated() {
    let upstream = Upstream::start();
    let gateway = serve(&upstream, &["--trusted-proxy", "127.0.0.1", "--limit", "client.ip stock 2"]).await;
    let lie = || {
        let mut lie = said("x-forwarded-for", &["9.9.9.9, 127.0.0.1"]);
        for (name, value) in [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "bank.test"),
            ("forwarded", "for=9.9.9.9;host=bank.test"),
        ] {
            lie.headers_mut().insert(name, value.parse().unwrap());
        }
        lie
    };
    let stranger = gateway.client().from(Ipv4Addr::new(127, 0, 0, 2));
    let echo: Echo = stranger.send(lie()).await.json();
    assert_eq!(echo.header("x-forwarded-for"), ["127.0.0.2"]);
    assert_eq!(echo.header("x-forwarded-proto"), ["http"]);
    assert_eq!(echo.header("x-forwarded-host"), echo.header("host"));
    assert!(echo.header("forwarded").is_empty());
    assert_eq!(stranger.get("/").await.status, OK);
    assert_eq!(stranger.send(lie()).await.status, TOO_MANY, "it is 127.0.0.2, whatever it says");

    let echo: Echo = gateway.client().send(lie()).await.json();
    assert_eq!(echo.header("x-forwarded-for"), ["9.9.9.9, 127.0.0.1, 127.0.0.1"], "a proxy is believed");
    assert_eq!(echo.header("x-forwarded-proto"), ["https"]);
    assert_eq!(echo.header("x-forwarded-host"), ["bank.test"]);
    assert!(echo.header("forwarded").is_empty(), "the field that its proxies do not write");
}

/// Real proxies, one behind the other: gateways themselves.
#[tokio::test]
async fn a_chain_of_gateways_tells_clients_apart() {
    let upstream = Upstream::start();
    let trusted = ["--trusted-proxy", "127.0.0.1"];
    let inner = serve(&upstream, &[&trusted[..], ONE_EACH].concat()).await;
    let middle = serve_url(&format!("http://{}", inner.addr()), &trusted).await;
    let outer = serve_url(&format!("http://{}", middle.addr()), &[]).await;
    let host = |last| outer.client().from(Ipv4Addr::new(127, 0, 0, last));
    let echo: Echo = host(5).get("/").await.json();
    assert_eq!(echo.header("x-forwarded-for"), ["127.0.0.5, 127.0.0.1, 127.0.0.1"]);
    assert_eq!(echo.header("via"), ["1.1 sluicegate"; 3]);
    assert_eq!(host(6).get("/").await.status, OK, "another client");
    for claim in ["9.9.9.9", "127.0.0.1"] {
        let lie = host(5).send(get_with("/", "x-forwarded-for", claim)).await;
        assert_eq!(lie.status, TOO_MANY, "the outer gateway does not repeat {claim}");
    }
}

#[tokio::test]
async fn clients_of_one_network_of_ipv6_share_a_bucket() {
    let upstream = Upstream::start();
    let near = (&["2001:db8:1:2::1"][..], OK);
    for (args, then) in [
        (&[][..], &[("2001:db8:1:2:ffff::2", TOO_MANY), ("2001:db8:1:3::1", OK), ("2001:db8:2:2::1", OK)]),
        (
            &["--ipv6-prefix", "48"],
            &[("2001:db8:1:ffff::2", TOO_MANY), ("2001:db8:1:3::1", TOO_MANY), ("2001:db8:2:2::1", OK)],
        ),
        (
            &["--ipv6-prefix", "128"],
            &[("2001:db8:1:2::2", OK), ("2001:db8:1:2::3", OK), ("2001:db8:1:2:0:0:0:1", TOO_MANY)],
        ),
    ] {
        let trusted = ["--trusted-proxy", "127.0.0.0/8"];
        let gateway = serve(&upstream, &[args, &trusted, ONE_EACH].concat()).await;
        assert_clients(&gateway, "x-forwarded-for", &[near]).await;
        for (address, expected) in then {
            assert_clients(&gateway, "x-forwarded-for", &[(&[*address], *expected)]).await;
        }
        // Those of IPv4 stay apart.
        assert_clients(&gateway, "x-forwarded-for", &[(&["192.0.2.1"], OK), (&["192.0.2.2"], OK)]).await;
    }
}

#[tokio::test]
async fn peers_of_ipv6_are_clients_too() {
    let upstream = Upstream::start();
    let url = upstream.url();
    for (listen, trusted) in [("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")] {
        let args = ["serve", "--upstream", &url, "--listen", listen, "--admin", "127.0.0.1:0"];
        let args = [&args[..], &["--trusted-proxy", trusted], ONE_EACH].concat();
        let gateway = Sluicegate::start(SLUICEGATE, &args).await;
        let port = gateway.addr().port();
        let own = Client::new(format!("[::1]:{port}").parse().unwrap());
        let trusted = if trusted == "::1" {
            own
        } else {
            // It listens to both, and those of IPv4 are what they are.
            Client::new(format!("127.0.0.1:{port}").parse().unwrap())
        };
        let echo: Echo = trusted.get("/").await.json();
        assert_eq!(echo.header("x-forwarded-for"), [trusted.server().ip().to_string()], "{listen}");
        assert_eq!(trusted.get("/").await.status, TOO_MANY);
        let ask = async |address: &str| trusted.send(said("x-forwarded-for", &[address])).await.status;
        assert_eq!(ask("2001:db8::1").await, OK);
        assert_eq!(ask("2001:db8::2").await, TOO_MANY);
        if trusted.server() != own.server() {
            assert_eq!(own.get("/").await.status, OK);
            assert_eq!(own.send(said("x-forwarded-for", &["7.7.7.7"])).await.status, TOO_MANY);
        }
    }
}
