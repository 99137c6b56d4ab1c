//! What is stripped and added between client and service (RFC 9110, section 7.6).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, Version};
use http_body::Body;

use super::body::RequestBody;

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
        let names = value.to_str().unwrap_or_default().split(',').filter_map(|name| name.trim().parse().ok());
        // A request without its host is another request.
        named.extend(names.filter(|name| *name != header::HOST));
    }
    for name in found.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// A client's address as a header value: made once a connection.
#[must_use]
pub fn address(client: IpAddr) -> HeaderValue {
    // An address is printed in hex digits, dots and colons, all of which a header value may hold.
    HeaderValue::try_from(client.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Makes a client's header one to the service: strips it, says who the client is, through what it came, and leaves
/// `Expect` to this gateway, which answers it itself by reading the body. `own_host` is for a client that names none.
pub fn to_upstream(request: &mut Parts, body: &RequestBody, client: &HeaderValue, own_host: &HeaderValue) {
    let headers = &mut request.headers;
    let trailers = takes_trailers(headers);
    strip(headers);
    if trailers {
        // The field is for one connection, and this gateway, too, takes trailers: it passes them on.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said outright: of a method that seldom has a body, hyper takes it that this one has none.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    headers.remove(header::EXPECT);
    append_to(headers, FORWARDED_FOR, client);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    } else {
        // HTTP/1.0 needs none, and what goes on is HTTP/1.1.
        headers.insert(header::HOST, own_host.clone());
    }
    headers.append(header::VIA, via(request.version));
}

/// This gateway in a `Via` field, with the version of the message that came.
const fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_10 => HeaderValue::from_static("1.0 sluicegate"),
        _ => HeaderValue::from_static("1.1 sluicegate"),
    }
}

/// Whether a client says that it takes fields behind a body.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Makes the service's header one to the client. False where its body is coded in a way that only this connection knows
/// of, so that it can't be passed on.
#[must_use]
pub fn to_client(response: &mut Response<()>) -> bool {
    let version = response.version();
    let headers = response.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return false;
        }
        // The chunks say where the body ends, whatever a length says (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers);
    headers.append(header::VIA, via(version));
    // The version is a hop's own.
    *response.version_mut() = Version::HTTP_11;
    true
}

/// Adds an element to a list field, in one line, as those who parse `X-Forwarded-For` expect.
fn append_to(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element.clone());
        return;
    }
    let mut joined: Vec<u8> =
        headers.get_all(&name).iter().flat_map(|value| [value.as_bytes(), b", "].concat()).collect();
    joined.extend_from_slice(element.as_bytes());
    // Its parts were header values, and so are a comma and a space.
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

    fn request(fields: &[(&'static str, &'static str)]) -> Parts {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.headers = headers(fields);
        let own = HeaderValue::from_static("up.test");
        to_upstream(&mut parts, &RequestBody::Empty, &address("10.0.0.9".parse().unwrap()), &own);
        parts
    }

    #[test]
    fn the_service_is_told_who_the_client_is() {
        let sent = request(&[("host", "a.test"), ("x-forwarded-proto", "https"), ("expect", "100-continue")]);
        let expected = [
            ("host", "a.test"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.test"),
            ("via", "1.1 sluicegate"),
        ];
        assert_eq!(sent.headers, headers(&expected));

        let sent =
            request(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 3.3.3.3")]).headers;
        assert_eq!(sent[FORWARDED_FOR], "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9");
        assert_eq!(sent.get_all(FORWARDED_FOR).iter().count(), 1);
        assert_eq!(sent[header::HOST], "up.test", "HTTP/1.1 has a host");
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
