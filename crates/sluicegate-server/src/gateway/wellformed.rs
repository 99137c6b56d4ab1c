//! What a request must be to be passed on: one that every server behind reads the same way (RFC 9112, sections 3.2
//! and 6.3). hyper has seen to the syntax of its lines and to lengths; this sees to what two servers could still read
//! two ways.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Uri, Version};

use super::refusal::Refusal;

/// The target to ask the upstream for: the path and query, whatever form the client used. Where the client named a host
/// in the target, that is the `Host` from now on.
///
/// # Errors
/// [`Refusal::Malformed`] or [`Refusal::Unsupported`], saying what is wrong.
pub fn target(request: &mut Parts) -> Result<Uri, Refusal> {
    if request.method == Method::CONNECT {
        return Err(Refusal::Unsupported("CONNECT asks for a tunnel, and this gateway is none"));
    }
    if request.uri == "*" && request.method != Method::OPTIONS {
        return Err(Refusal::Malformed("only OPTIONS is for the service as a whole"));
    }
    check_framing(request)?;
    check_host(request)?;
    let Some(authority) = request.uri.authority() else {
        return Ok(request.uri.clone());
    };
    if request.version == Version::HTTP_2
        && let Some(host) = request.headers.get(header::HOST)
        && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(Refusal::Malformed("the Host is not the authority"));
    }
    let (Some(_), Some(path)) = (request.uri.scheme(), request.uri.path_and_query()) else {
        return Err(Refusal::Malformed("the target is neither a path nor a whole address"));
    };
    let path = Uri::from(path.clone());
    if !is_host(authority.as_str().as_bytes()) {
        return Err(Refusal::Malformed("the target's host is no host"));
    }
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers.insert(header::HOST, host);
    }
    Ok(path)
}

/// A body in chunks, and nothing below or above the chunks: what else a client may have named would be taken for part of
/// the body by whoever does not know it.
fn check_framing(request: &Parts) -> Result<(), Refusal> {
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::Unsupported("the only transfer coding known here is chunked, once")),
    }
}

/// Exactly one `Host`, and one that is a host; HTTP/1.0 may have none, and HTTP/2 need not repeat it.
fn check_host(request: &Parts) -> Result<(), Refusal> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::HTTP_10 => Ok(()),
        // HTTP/2 says it in the target.
        (None, _) if request.version == Version::HTTP_2 && request.uri.authority().is_some() => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, _) => Err(Refusal::Malformed("a request needs a Host")),
        (Some(_), None) => Err(Refusal::Malformed("the Host is no host")),
        (Some(_), Some(_)) => Err(Refusal::Malformed("there is more than one Host")),
    }
}

/// A name or address and perhaps a port, and no name of a user; empty is a host as well (RFC 9110, section 7.2).
fn is_host(host: &[u8]) -> bool {
    let colon = host.iter().rposition(|byte| *byte == b':').filter(|_| !host.ends_with(b"]"));
    let (name, port) = colon.map_or((host, &[][..]), |colon| (&host[..colon], &host[colon + 1..]));
    // The usual ones are told by their letters.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let whole = name.starts_with(b"[") || !name.contains(&b':');
    let is_name =
        name.iter().all(plain) || (whole && !name.contains(&b'@') && Authority::try_from(name).is_ok());
    let port = std::str::from_utf8(port).unwrap_or("x");
    is_name && (port.is_empty() || (port.parse::<u16>().is_ok() && !port.starts_with('+')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_whole_address_becomes_a_path_and_a_host() {
        let mut request = parts("GET", "http://b.test:81/x?y", &[("host", "a.test")]);
        assert_eq!(target(&mut request).unwrap(), "/x?y");
        assert_eq!(request.headers[header::HOST], "b.test:81");
        assert_eq!(target(&mut parts("OPTIONS", "*", &[("host", "a")])).unwrap(), "*");
    }

    #[test]
    fn http_2_names_its_host_in_the_target_and_no_other() {
        let two = |fields: &[(&str, &str)]| {
            let mut request = parts("GET", "https://a.test/x", fields);
            request.version = Version::HTTP_2;
            (target(&mut request).map(|path| path.to_string()).ok(), request.headers)
        };
        let (path, headers) = two(&[]);
        assert_eq!(
            (path.as_deref(), &headers[header::HOST]),
            (Some("/x"), &HeaderValue::from_static("a.test"))
        );
        assert!(two(&[("host", "A.test")]).0.is_some());
        assert!(two(&[("host", "b.test")]).0.is_none());
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for (uri, fields) in [
            ("/", &[][..]),
            ("/", &[("host", "a"), ("host", "a")]),
            ("/", &[("host", "a b")]),
            ("/", &[("host", "a@b")]),
            ("/", &[("host", "a:b:c")]),
            ("/", &[("host", "a:xyz")]),
            ("/", &[("host", "a:80:81")]),
            ("/", &[("host", "a:99999")]),
            ("http://u:p@a/", &[("host", "a")]),
            ("nothing", &[("host", "a")]),
            ("/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")]),
            ("/", &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
        ] {
            assert!(target(&mut parts("POST", uri, fields)).is_err(), "{uri} {fields:?}");
        }
        assert!(
            target(&mut parts("POST", "/", &[("host", "[::1]:80"), ("transfer-encoding", "Chunked")]))
                .is_ok()
        );
    }
}
