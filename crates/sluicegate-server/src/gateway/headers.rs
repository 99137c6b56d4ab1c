//! What is stripped and added between client and service (RFC 9110, section 7.6).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use http_body::Body;

use super::body::RequestBody;
use crate::config::settings::ForwardedHeader;

/// Whether a field is for one connection, not to be passed on.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Removes what is meant for one connection: the fields that are so by definition, and those that `Connection` names.
pub fn strip(headers: &mut HeaderMap) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if found.is_empty() {
        return;
    }
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        if value == "keep-alive" || value == "close" {
            continue;
        }
        let names = value.as_bytes().split(|byte| *byte == b',');
        let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
        // A request without its host is another request.
        named.extend(names.filter(|name| *name != header::HOST));
    }
    for name in found.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// A client's address as a header value: made once a connection. IPv4 in IPv6 form, as a listener to both sees it, is IPv4.
#[must_use]
pub fn address(client: IpAddr) -> HeaderValue {
    let client = client.to_canonical();
    // An address is printed in hex digits, dots and colons, all of which a header value may hold.
    HeaderValue::try_from(client.to_canonical().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// What a service is told of who asks.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The TCP peer's address.
    pub peer: &'a HeaderValue,
    /// Whom that peer forwards for, and the field it says so in, if it is believed about it.
    pub forwards: Option<(IpAddr, ForwardedHeader)>,
    /// Whether the client spoke TLS to this gateway.
    pub tls: bool,
}

/// Makes a client's header one to the service: strips it, says who the client is, through what it came, and leaves
/// `Expect` to this gateway, which answers it itself by reading the body. `own_host` is for a client that names none.
///
/// What a peer that is no trusted proxy says of those before it is not passed on: a service that believes it would be
/// fooled.
pub fn to_upstream(request: &mut Parts, body: &RequestBody, origin: &Origin<'_>, own_host: &HeaderValue) {
    let upgrade = upgrade(request);
    let headers = &mut request.headers;
    let trailers = takes_trailers(headers);
    strip(headers);
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if trailers {
        // The field is for one connection, and this gateway, too, takes trailers: it passes them on.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said outright: of a method that seldom has a body, hyper takes it that this one has none.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    headers.remove(header::EXPECT);
    join(headers, &header::COOKIE, b"; ", None);
    let trusted = origin.forwards.map(|(_, field)| field);
    disbelieve(headers, trusted);
    match origin.forwards {
        None => drop(headers.insert(FORWARDED_FOR, origin.peer.clone())),
        Some((_, ForwardedHeader::XForwardedFor)) => join(headers, &FORWARDED_FOR, b", ", Some(origin.peer)),
        Some((client, ForwardedHeader::Forwarded)) => {
            join(headers, &header::FORWARDED, b", ", Some(&forwarded(origin.peer)));
            let client = address(client);
            let both = client != *origin.peer;
            headers.insert(FORWARDED_FOR, client);
            join(headers, &FORWARDED_FOR, b", ", both.then_some(origin.peer));
        }
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        let scheme = HeaderValue::from_static(if origin.tls { "https" } else { "http" });
        headers.insert(FORWARDED_PROTO, scheme);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    } else {
        // HTTP/1.0 needs none, and what goes on is HTTP/1.1.
        headers.insert(header::HOST, own_host.clone());
    }
    headers.append(header::VIA, via(request.version));
}

/// Removes what says who asks, or for what, and was not written by a proxy that is believed. To services that read names as
/// CGI does, a name with other signs for its hyphens is the same.
pub(super) fn disbelieve(headers: &mut HeaderMap, trusted: Option<ForwardedHeader>) {
    let is_doubtful = |name: &HeaderName| {
        let name = name.as_str();
        if !name.starts_with('x') && !name.starts_with("forwarded") {
            return false;
        }
        let plain = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let told = match trusted {
            None => false,
            Some(ForwardedHeader::XForwardedFor) => plain.starts_with("x-forwarded-"),
            Some(ForwardedHeader::Forwarded) => plain == "forwarded",
        };
        let tells = plain.starts_with("x-forwarded-")
            || matches!(plain.as_str(), "forwarded" | "x-real-ip" | "x-original-url" | "x-rewrite-url");
        tells && !(told && plain == name)
    };
    let doubtful: Vec<HeaderName> = headers.keys().filter(|name| is_doubtful(name)).cloned().collect();
    for name in doubtful {
        headers.remove(name);
    }
}

/// A peer as an element of `Forwarded` (RFC 7239, section 6).
fn forwarded(peer: &HeaderValue) -> HeaderValue {
    let peer = peer.to_str().unwrap_or("unknown");
    let element = if peer.contains(':') { format!("for=\"[{peer}]\"") } else { format!("for={peer}") };
    HeaderValue::try_from(element).unwrap_or(HeaderValue::from_static("for=unknown"))
}

/// The protocol that a client asks to change to, where that is passed on. Not to another HTTP, nor to TLS: requests in it
/// would pass by the limits.
#[must_use]
pub fn upgrade(request: &Parts) -> Option<HeaderValue> {
    if request.version != Version::HTTP_11 {
        return None;
    }
    let mut protocols = request.headers.get_all(header::UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else { return None };
    let text = protocol.to_str().ok()?;
    let lower = text.to_ascii_lowercase();
    let is_http = lower.starts_with('h') || lower.starts_with("tls");
    let is_one = !text.is_empty() && !text.contains(',');
    let named = |value: &HeaderValue| {
        let names = value.to_str().unwrap_or_default();
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
    };
    let is_asked = request.headers.get_all(header::CONNECTION).iter().any(named);
    (is_asked && is_one && !is_http).then(|| protocol.clone())
}

/// This gateway in a `Via` field, with the version of the message that came.
const fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 sluicegate"),
        Version::HTTP_2 => HeaderValue::from_static("2 sluicegate"),
        _ => HeaderValue::from_static("1.1 sluicegate"),
    }
}

/// Whether a client says that it takes fields behind a body.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether a body is coded in no other way than one that can be undone.
#[must_use]
pub fn can_pass(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// Makes the service's header one to the client. False where its body is coded in a way that only this connection knows
/// of, so that it can't be passed on.
#[must_use]
pub fn to_client(response: &mut Response<()>) -> bool {
    let version = response.version();
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if !can_pass(headers) {
        return false;
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // The chunks say where the body ends, whatever a length says (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    let protocol = headers.get(header::UPGRADE).filter(|_| switches).cloned();
    strip(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    headers.append(header::VIA, via(version));
    // The version is a hop's own.
    *response.version_mut() = Version::HTTP_11;
    true
}

/// Makes one line of a field's several, and of an element more: of a list of addresses, as those who parse it expect, and
/// of cookies, which HTTP/2 sends in pieces (RFC 9113, section 8.2.3).
fn join(headers: &mut HeaderMap, name: &HeaderName, separator: &[u8], more: Option<&HeaderValue>) {
    let mut values = headers.get_all(name).iter().chain(more);
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        if let (Some(more), false) = (more, headers.contains_key(name)) {
            headers.insert(name, more.clone());
        }
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for value in [second].into_iter().chain(values) {
        joined.extend_from_slice(separator);
        joined.extend_from_slice(value.as_bytes());
    }
    // Its parts were header values, and so are the separators.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(name, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let mut map = headers(&[
            ("connection", "close, x-secret"),
            ("connection", "X-Other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "basic"),
            ("x-kept", "1"),
        ]);
        strip(&mut map);
        assert_eq!(map, headers(&[("x-kept", "1")]));
    }

    fn request(fields: &[(&'static str, &'static str)], field: Option<ForwardedHeader>) -> HeaderMap {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = headers(fields);
        let own = HeaderValue::from_static("up.test");
        let peer = address("10.0.0.9".parse().unwrap());
        let forwards = field.map(|field| ("1.2.3.4".parse().unwrap(), field));
        let origin = Origin { peer: &peer, forwards, tls: true };
        to_upstream(&mut parts, &RequestBody::Empty, &origin, &own);
        parts.headers
    }

    #[test]
    fn the_service_is_told_who_the_client_is() {
        let forged = [
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "b.test"),
            ("x-forwarded-port", "1"),
            ("x_forwarded_for", "9.9.9.9"),
            ("x.forwarded~for", "9.9.9.9"),
            ("x-original-url", "/login"),
            ("x-real-ip", "9.9.9.9"),
            ("forwarded", "for=x"),
        ];
        let sent = request(&[&forged[..], &[("host", "a.test"), ("expect", "100-continue")]].concat(), None);
        let expected = [
            ("host", "a.test"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.test"),
            ("via", "1.1 sluicegate"),
        ];
        assert_eq!(sent, headers(&expected));
    }

    #[test]
    fn a_trusted_proxy_s_word_is_passed_on_with_its_own_address() {
        let told = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "9.9.9.9"),
            ("x_forwarded_host", "evil.test"),
        ];
        let sent = request(&told, Some(ForwardedHeader::XForwardedFor));
        assert_eq!(sent[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9");
        assert_eq!(sent.get_all(FORWARDED_FOR).iter().count(), 1);
        assert!(!sent.contains_key("x-real-ip") && !sent.contains_key("x_forwarded_host"), "not its to say");
        assert_eq!(
            (&sent[FORWARDED_PROTO], &sent[header::HOST]),
            (&"http".parse().unwrap(), &"up.test".parse().unwrap())
        );
        assert_eq!(request(&told, None)[FORWARDED_FOR], "10.0.0.9");
        assert_eq!(request(&[], Some(ForwardedHeader::XForwardedFor))[FORWARDED_FOR], "10.0.0.9");
    }

    #[test]
    fn of_two_fields_only_the_one_that_the_proxies_write_is_passed_on() {
        let told = [
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=1.2.3.4"),
            ("host", "a.test"),
        ];
        let sent = request(&told, Some(ForwardedHeader::Forwarded));
        assert_eq!(
            (&sent[header::FORWARDED], &sent[FORWARDED_FOR]),
            (&"for=1.2.3.4, for=10.0.0.9".parse().unwrap(), &"1.2.3.4, 10.0.0.9".parse().unwrap())
        );
        assert_eq!(
            (&sent[FORWARDED_HOST], &sent[FORWARDED_PROTO]),
            (&sent[header::HOST], &"https".parse().unwrap())
        );
        let sent = request(&told, Some(ForwardedHeader::XForwardedFor));
        assert_eq!(sent[FORWARDED_FOR], "9.9.9.9, 10.0.0.9");
        assert!(!sent.contains_key(header::FORWARDED));
        assert_eq!(forwarded(&address("::1".parse().unwrap())), "for=\"[::1]\"");
    }

    #[test]
    fn cookies_that_came_in_pieces_are_one_line() {
        let sent = request(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")], None);
        assert_eq!(sent.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_upgrade_is_passed_on_unless_it_is_to_another_http() {
        let ask = |protocol: &'static str| {
            request(&[("connection", "keep-alive, Upgrade"), ("upgrade", protocol)], None)
        };
        let sent = ask("websocket");
        assert_eq!(
            (&sent[header::UPGRADE], &sent[header::CONNECTION]),
            (&"websocket".parse().unwrap(), &"upgrade".parse().unwrap())
        );
        for protocol in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket, h2c", ""] {
            let sent = ask(protocol);
            assert!(
                !sent.contains_key(header::UPGRADE) && !sent.contains_key(header::CONNECTION),
                "{protocol}"
            );
        }
        assert!(
            !request(&[("upgrade", "websocket")], None).contains_key(header::UPGRADE),
            "not asked of this hop"
        );
    }

    #[test]
    fn of_an_answer_s_two_lengths_the_chunks_count() {
        let mut answer = Response::new(());
        *answer.headers_mut() = headers(&[("transfer-encoding", "chunked"), ("content-length", "5")]);
        assert!(to_client(&mut answer));
        assert_eq!(*answer.headers(), headers(&[("via", "1.1 sluicegate")]));
        *answer.headers_mut() = headers(&[("transfer-encoding", "gzip, chunked")]);
        assert!(!to_client(&mut answer));
    }
}
