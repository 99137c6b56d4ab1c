//! Values of command line flags, as text: what clap is given to parse them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, StatusCode};
use ipnet::{IpNet, Ipv4Net};
use sluicegate_tower::http::deadline::Field;

/// The longest name that is compared with others, in bytes.
const MAX_NAME: usize = 80;

/// Parses a time such as `250ms`, `2s` or `5m`.
///
/// # Errors
/// Saying what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    // A unit alone is a time in a quota, where `1/s` is meant; here it is a typing error.
    let time =
        sluicegate::span::parse(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()));
    time.ok_or_else(|| "expected a number and a unit, such as `250ms`, `2s` or `5m`".to_owned())
}

/// Parses a time that something is waited for: from a millisecond to a day.
///
/// # Errors
/// Saying what would be right.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let range = Duration::from_millis(1)..=Duration::from_secs(86_400);
    range.contains(&time).then_some(time).ok_or_else(|| "expected a time from 1ms to 24h".to_owned())
}

/// Parses an address to listen on.
///
/// # Errors
/// Saying what would be right.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// Parses a network, or an address, which is a network of one. IPv4 in IPv6 form is IPv4, as peers are.
///
/// # Errors
/// Saying what would be right.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = network.map(|network| match (network, network.addr().to_canonical()) {
        (IpNet::V6(six), IpAddr::V4(four)) if six.prefix_len() >= 96 => {
            Ipv4Net::new(four, six.prefix_len() - 96).map_or(network, IpNet::V4)
        }
        _ => network,
    });
    let network = network.map(|network| network.trunc());
    network.ok_or_else(|| "expected a network or an address, such as `10.0.0.0/8` or `::1`".to_owned())
}

/// Parses the status of a refusal.
///
/// # Errors
/// Saying what would be right.
pub fn refusal_status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse::<StatusCode>().ok().filter(|status| (400..600).contains(&status.as_u16()));
    status.ok_or_else(|| "expected a status from 400 to 599".to_owned())
}

/// Fields that mean something else: one that is told how much time there is would lose what it says, and one that is read would be
/// taken for a time.
const OTHERS: [&str; 60] = [
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "digest",
    "dnt",
    "early-data",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "refresh",
    "repr-digest",
    "retry-after",
    "server",
    "set-cookie",
    "signature",
    "signature-input",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "want-repr-digest",
    "warning",
    "www-authenticate",
    "x-api-key",
    "x-client-ip",
    "x-correlation-id",
    "x-csrf-token",
    "x-http-method-override",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];

/// How the names of whole families of such fields begin.
const FAMILIES: [&str; 10] = [
    "accept",
    "access-control-",
    "content-",
    "grpc-accept-",
    "if-",
    "proxy-",
    "ratelimit",
    "sec-",
    "x-forwarded-",
    "x-ratelimit",
];

fn means_something_else(name: &HeaderName) -> bool {
    OTHERS.contains(&name.as_str()) || FAMILIES.iter().any(|begin| name.as_str().starts_with(begin))
}

/// Parses the name of a field that says how much time there is: in milliseconds, or `grpc-timeout`, which has units.
///
/// # Errors
/// Saying what would be right.
pub fn deadline_header(text: &str) -> Result<Field, String> {
    let expected =
        "expected the name of a field of its own, such as `x-request-timeout-ms` or `grpc-timeout`";
    let name = field_of_its_own(text).ok_or_else(|| expected.to_owned())?;
    let grpc = Field::grpc();
    Ok(if name == *grpc.name() { grpc } else { Field::millis(name) })
}

/// Parses the name of a field that says the class of a request.
///
/// # Errors
/// Saying what would be right.
pub fn own_header(text: &str) -> Result<HeaderName, String> {
    let expected = "expected the name of a field of its own, such as `x-priority`";
    field_of_its_own(text).ok_or_else(|| expected.to_owned())
}

fn field_of_its_own(text: &str) -> Option<HeaderName> {
    text.parse::<HeaderName>().ok().filter(|name| !means_something_else(name))
}

/// Which of these names was probably meant, if one is near.
///
/// ```
/// use sluicegate_server::flags::nearest;
///
/// assert_eq!(nearest("wrokers", ["listener", "workers"].into_iter()), Some("workers"));
/// assert_eq!(nearest("colour", ["listener", "workers"].into_iter()), None);
/// ```
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // No name is that long, and the comparison would be.
    let short = |name: &&str| name.len() <= MAX_NAME && given.len() <= MAX_NAME;
    let far = |name: &str| strsim::osa_distance(&given.to_lowercase(), name);
    let near = known.filter(short).map(|name| (far(name), name)).min();
    // A third of the letters may be wrong.
    near.filter(|(distance, name)| *distance <= name.chars().count().div_ceil(3)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for text in ["", "s", "5", "-1s", "1.5s", "5 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(timeout("1ms"), Ok(Duration::from_millis(1)));
        assert!(timeout("0s").is_err() && timeout("25h").is_err());
    }

    #[test]
    fn a_field_for_deadlines_means_nothing_else() {
        for name in [
            "authorization",
            "Cookie",
            "x-forwarded-for",
            "forwarded",
            "idempotency-key",
            "retry-after",
            "date",
        ] {
            assert!(deadline_header(name).unwrap_err().contains("a field of its own"), "{name}");
        }
        assert!(
            ["content-type", "if-match", "sec-fetch-site", "accept"]
                .iter()
                .all(|name| deadline_header(name).is_err())
        );
        assert!(OTHERS.is_sorted() && FAMILIES.is_sorted());
        for name in
            ["x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "request-timeout", "X-Deadline"]
        {
            assert_eq!(deadline_header(name).unwrap().name().as_str(), name.to_lowercase());
        }
        assert_eq!(deadline_header("grpc-timeout"), Ok(Field::grpc()));
        assert!(
            own_header("X-Priority").is_ok() && own_header("cookie").unwrap_err().contains("`x-priority`")
        );
    }

    #[test]
    fn statuses_and_addresses() {
        assert_eq!(refusal_status("502"), Ok(StatusCode::BAD_GATEWAY));
        assert!(["200", "99", "600", "x"].iter().all(|text| refusal_status(text).is_err()));
        assert!(address("127.0.0.1:0").is_ok() && address("localhost").is_err());
    }
}
