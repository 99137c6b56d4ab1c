//! Who a client is taken for.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use sluicegate_server::config::identity::{client, is_trusted, masked};
use sluicegate_server::config::settings::{ForwardedHeader, IdentitySettings};

/// The peer, which is trusted.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// An address that nobody trusts and no input of the fuzzer is likely to have: where it is the answer, the walk went past
/// all that the proxies wrote.
const BEYOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);

/// What a client may have written before its request came to the first proxy, among what the fuzzer makes up.
const LIES: &[&str] =
    &["203.0.113.9", "for=203.0.113.9", "for=\"203.0.113.9", "\"", "\\\"", ",", "10.0.0.7", ""];

/// A byte of settings; then lines: the first is what a client may have written, the others what proxies wrote.
pub fn forwarded(data: &[u8]) {
    let Some((&options, rest)) = data.split_first() else { return };
    let quoted = options & 1 == 1;
    let header = if quoted { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
    let name = HeaderName::from_static(if quoted { "forwarded" } else { "x-forwarded-for" });
    let networks = ["10.0.0.0/8", "fd00::/8", "::ffff:192.168.0.0/112"];
    let trusted_proxies: Vec<IpNet> = networks.iter().filter_map(|network| network.parse().ok()).collect();
    let settings = IdentitySettings {
        trusted_proxies,
        forwarded_header: header,
        ipv6_prefix: if options & 2 == 2 { 64 } else { 128 },
    };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let lie = lines.next().unwrap_or_default();
    let written: Vec<&[u8]> = lines.collect();
    let ask = |lines: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            // What is no field's value does not come through hyper.
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(name.clone(), value);
            }
        }
        client(PEER, &headers, &settings)
    };

    let believed = ask(&written);
    assert_eq!(believed, believed.to_canonical(), "IPv4 in IPv6 form is IPv4");
    let key = masked(believed, settings.ipv6_prefix);
    assert_eq!(masked(key, settings.ipv6_prefix), key, "masked once is enough");

    // Nobody is believed but through a trusted peer.
    let mut all = HeaderMap::new();
    written.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).for_each(|value| {
        all.append(name.clone(), value);
    });
    let stranger = IpAddr::V4(BEYOND);
    assert_eq!(client(stranger, &all, &settings), stranger);

    // Where the walk ends among what proxies wrote, nothing before it counts: neither lines of their own...
    let beyond = if quoted { format!("for={BEYOND}") } else { BEYOND.to_string() };
    let first = |line: &[u8]| ask(&[&[line], &written[..]].concat());
    if first(beyond.as_bytes()) == IpAddr::V4(BEYOND) && believed != IpAddr::V4(BEYOND) {
        assert!(believed == PEER || is_trusted(believed, &settings), "the walk went past a stranger");
        return;
    }
    let lies = LIES.iter().map(|lie| lie.as_bytes()).chain([lie]);
    for lie in lies {
        assert_eq!(first(lie), believed, "{:?} changed who it is", String::from_utf8_lossy(lie));
        // ...nor the beginning of the line that the first proxy has added to, if it closes its quotes.
        let Some((line, others)) = written.split_first() else { continue };
        if quoted && line.contains(&b'"') {
            continue;
        }
        let joined = [lie, b",", line].concat();
        if HeaderValue::from_bytes(&joined).is_ok() && HeaderValue::from_bytes(line).is_ok() {
            let answer = ask(&[&[&joined[..]], others].concat());
            assert_eq!(answer, believed, "{:?} changed who it is", String::from_utf8_lossy(&joined));
        }
    }
}
