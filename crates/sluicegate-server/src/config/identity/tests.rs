use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const PEER: &str = "10.0.0.1";

fn settings(forwarded_header: ForwardedHeader) -> IdentitySettings {
    let trusted = ["10.0.0.0/8", "2001:db8:aaaa::/48"].map(|net| net.parse().unwrap());
    IdentitySettings { trusted_proxies: trusted.to_vec(), forwarded_header, ipv6_prefix: 64 }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seen<V: AsRef<[u8]>>(field: ForwardedHeader, peer: &str, lines: &[V]) -> IpAddr {
    let name = match field {
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => FORWARDED,
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(&name, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    client(ip(peer), &headers, &settings(field))
}

#[test]
fn x_forwarded_for() {
    for (peer, lines, expected) in [
        ("192.0.2.1", &["203.0.113.7"][..], "192.0.2.1"),
        ("::ffff:192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
        (PEER, &[], PEER),
        (PEER, &["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        (PEER, &["192.0.2.99, 203.0.113.7,10.9.9.9"], "203.0.113.7"),
        (PEER, &["192.0.2.99", "203.0.113.7", "10.9.9.9, 10.0.0.3"], "203.0.113.7"),
        (PEER, &["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
        (PEER, &["203.0.113.7:4711"], "203.0.113.7"),
        (PEER, &["[2001:db8::7]:4711"], "2001:db8::7"),
        (PEER, &["[2001:db8::7]"], "2001:db8::7"),
        (PEER, &["\t2001:db8::7 "], "2001:db8::7"),
        (PEER, &["::ffff:203.0.113.7"], "203.0.113.7"),
        (PEER, &["203.0.113.7, 2001:db8:aaaa::1"], "203.0.113.7"),
        (PEER, &["203.0.113.7, unknown"], PEER),
        (PEER, &["203.0.113.7, _hidden, 10.0.0.2"], "10.0.0.2"),
        (PEER, &["203.0.113.7, , 10.0.0.2"], "10.0.0.2"),
        (PEER, &["203.0.113.7", ""], PEER),
        (PEER, &["203.0.113.7:99999"], PEER),
        (PEER, &["203.0.113.7:+1"], PEER),
        (PEER, &["203.0.113.7:"], PEER),
        (PEER, &["[203.0.113.7]:80"], PEER),
        (PEER, &["[2001:db8::7]80"], PEER),
        (PEER, &["203.0.113.007"], PEER),
        (PEER, &["fe80::1%eth0"], PEER),
    ] {
        assert_eq!(seen(ForwardedHeader::XForwardedFor, peer, lines), ip(expected), "{peer} {lines:?}");
    }
}

#[test]
fn forwarded() {
    for (lines, expected) in [
        (&["for=203.0.113.7"][..], "203.0.113.7"),
        (&["FOR=203.0.113.7;proto=https;by=10.0.0.1"], "203.0.113.7"),
        (&["by=10.0.0.1 ; For=\"203.0.113.7\""], "203.0.113.7"),
        (&["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
        (&["for=\"[2001:db8::7]:_port\", for=10.0.0.2;"], "2001:db8::7"),
        (&["for=\"203.0.113.\\7\""], "203.0.113.7"),
        (&["for=192.0.2.99, for=203.0.113.7;host=\"a, for=192.0.2.98\", for=10.0.0.2"], "203.0.113.7"),
        (&["for=203.0.113.7;ext=\"\\\", for=192.0.2.98, \\\"\""], "203.0.113.7"),
        (&["for=203.0.113.7;ext=\"\\\\\", for=10.0.0.2"], "203.0.113.7"),
        (&["for=203.0.113.7", "for=10.0.0.2"], "203.0.113.7"),
        // A quote that the client opens, and never closes.
        (&["for=\", for=203.0.113.7"], "203.0.113.7"),
        (&["for=\", for=203.0.113.7;host=\"a\""], "203.0.113.7"),
        (&["\\\", for=203.0.113.7"], "203.0.113.7"),
        (&["for=203.0.113.7:80"], "203.0.113.7"),
        (&["for=203.0.113.7, for=unknown"], PEER),
        (&["for=203.0.113.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=203.0.113.7, by=10.0.0.2"], PEER),
        (&["for=203.0.113.7;for=203.0.113.8"], PEER),
        (&["for=203.0.113.7 for=203.0.113.8"], PEER),
        (&["for=203.0.113.7;x"], PEER),
        (&["for=\"203.0.113.7"], PEER),
        (&["for=203.0.113.7\""], PEER),
        (&["for=\"\""], PEER),
        (&["for="], PEER),
        (&["=203.0.113.7"], PEER),
        (&["for =203.0.113.7"], PEER),
        (&["203.0.113.7"], PEER),
        (&[""], PEER),
    ] {
        assert_eq!(seen(ForwardedHeader::Forwarded, PEER, lines), ip(expected), "{lines:?}");
    }
    let long = format!("for=\"203.0.113.7{}\"", " ".repeat(MAX_NODE));
    assert_eq!(seen(ForwardedHeader::Forwarded, PEER, &[long]), ip(PEER), "what is cut off counts");
}

#[test]
fn the_walk_is_bounded() {
    let chain = |hops: usize| format!("203.0.113.7{}", ", 10.0.0.2".repeat(hops));
    let field = ForwardedHeader::XForwardedFor;
    assert_eq!(seen(field, PEER, &[chain(MAX_HOPS - 1)]), ip("203.0.113.7"));
    assert_eq!(seen(field, PEER, &[chain(MAX_HOPS)]), ip("10.0.0.2"));
}

#[test]
fn masks() {
    let full = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";
    for (prefix, expected) in [(0, "::"), (1, "::"), (48, "2001:db8:ffff::"), (128, full), (255, full)] {
        assert_eq!(masked(ip(full), prefix), ip(expected), "{prefix}");
        assert_eq!(masked(ip("192.0.2.1"), prefix), ip("192.0.2.1"));
        assert_eq!(masked(ip("::ffff:192.0.2.1"), prefix), ip("192.0.2.1"));
    }
}

/// What a header field can hold, with much of what means something.
fn field_text() -> impl Strategy<Value = Vec<u8>> {
    let meaning = prop::sample::select(b"\"\"\\\\,,;=: \t[]for10.2".to_vec());
    let any = prop_oneof![Just(b'\t'), 0x20_u8..0x7f, 0x80_u8..=0xff];
    vec(prop_oneof![4 => meaning, 1 => any], 0..60)
}

fn fields() -> impl Strategy<Value = ForwardedHeader> {
    prop::sample::select(vec![ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded])
}

/// An element of `X-Forwarded-For`, and the address it says.
fn element() -> impl Strategy<Value = (&'static str, Option<IpAddr>)> {
    let trusted =
        ["10.0.0.2", "10.255.0.1:80", "2001:db8:aaaa::1", "[2001:db8:aaaa::1]:1", "::ffff:10.0.0.9"];
    let says = ["10.0.0.2", "10.255.0.1", "2001:db8:aaaa::1", "2001:db8:aaaa::1", "10.0.0.9"];
    let trusted: Vec<_> = trusted.into_iter().zip(says.map(|says| Some(ip(says)))).collect();
    let other = vec![
        ("203.0.113.7", Some(ip("203.0.113.7"))),
        ("[2001:db8::7]:65535", Some(ip("2001:db8::7"))),
        ("unknown", None),
        ("_x", None),
        ("", None),
        ("10.0.0.2:x", None),
        ("10.0.0", None),
    ];
    prop_oneof![3 => prop::sample::select(trusted), 1 => prop::sample::select(other)]
}

/// What a proxy writes for an address: one of several spellings, with neighbours that hold commas and quotes.
fn spelt(field: ForwardedHeader, address: IpAddr, how: usize) -> String {
    let plain = match (address, how % 3) {
        (IpAddr::V6(six), 0) => format!("[{six}]:4711"),
        (IpAddr::V6(six), 1) => format!("[{six}]"),
        (IpAddr::V4(four), 0) => format!("{four}:4711"),
        _ => address.to_string(),
    };
    if field == ForwardedHeader::XForwardedFor {
        return plain;
    }
    match how % 4 {
        0 => format!("for=\"{plain}\""),
        1 => format!("By=\"a, for=192.0.2.98\";FOR=\"{plain}\";proto=http"),
        2 => format!("for=\"\\{plain}\";ext=\"\\\", \\\\\""),
        _ => format!(";for=\"{plain}\" ; ext=\"\\\"\\\"\""),
    }
}

proptest! {
    #[test]
    fn nothing_panics(field in fields(), lines in vec(field_text(), 0..4)) {
        seen(field, PEER, &lines);
    }

    #[test]
    fn what_a_client_writes_changes_nothing(
        field in fields(),
        written in vec(field_text(), 0..3),
        own_line in any::<bool>(),
        proxies in vec((any::<bool>(), any::<u8>(), any::<bool>(), 0_usize..12), 0..5),
        client in prop::sample::select(vec!["203.0.113.7", "2001:db8::7"]),
        how in 0_usize..12,
    ) {
        let mut lines = written;
        let mut add = |text: String, own_line: bool| match lines.last_mut() {
            Some(line) if !own_line => line.extend_from_slice(format!(", {text}").as_bytes()),
            _ => lines.push(text.into_bytes()),
        };
        add(spelt(field, ip(client), how), own_line);
        for (six, host, own_line, how) in proxies {
            let address = if six { format!("2001:db8:aaaa::{host:x}") } else { format!("10.0.0.{host}") };
            add(spelt(field, ip(&address), how), own_line);
        }
        prop_assert_eq!(seen(field, PEER, &lines), ip(client), "{:?}", lines);
    }

    #[test]
    fn x_forwarded_for_is_a_list_from_its_end(lines in vec(vec(element(), 1..30), 0..4)) {
        let mut expected = ip(PEER);
        let trusted = settings(ForwardedHeader::XForwardedFor).trusted_proxies;
        for (_, address) in lines.iter().flatten().rev().take(MAX_HOPS) {
            let Some(address) = address else { break };
            expected = *address;
            if !trusted.iter().any(|net| net.contains(address)) {
                break;
            }
        }
        let text: Vec<String> =
            lines.iter().map(|line| line.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" , ")).collect();
        prop_assert_eq!(seen(ForwardedHeader::XForwardedFor, PEER, &text), expected, "{:?}", text);
    }
}
