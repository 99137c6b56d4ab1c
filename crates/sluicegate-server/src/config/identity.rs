//! Who a client is taken for: the TCP peer, or whom trusted proxies say they forward for.
//!
//! A proxy adds whom it heard from at the end of the field, so the field is read from its end: each address was written by
//! the hop after it, and is believed as long as all hops after it are trusted. What stands before the first address that is
//! not, the client itself may have written. It is not looked at, whatever it looks like: the text is cut from its end, so
//! that a quote opened by the client can't swallow what a proxy wrote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};

use super::settings::{ForwardedHeader, IdentitySettings};

/// How many hops are looked at. Longer chains are not honest ones.
const MAX_HOPS: usize = 64;

/// Longer is no address: brackets, 39 digits and colons, a port.
const MAX_NODE: usize = 64;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: of the peer, unless that is a [trusted proxy](IdentitySettings::trusted_proxies); then the
/// last address in the [field](IdentitySettings::forwarded_header) that is no trusted proxy's. Where an element is no
/// address (`unknown`, `_hidden`, or malformed), the proxy that reported it is as far as is known; where all are trusted, the
/// first. IPv4 addresses in IPv6 form are IPv4. At most 64 hops are looked at.
///
/// ```
/// use std::net::IpAddr;
/// use http::{HeaderMap, HeaderValue};
/// use sluicegate_server::config::identity::client;
/// use sluicegate_server::config::settings::IdentitySettings;
///
/// let peer: IpAddr = "10.0.0.1".parse()?;
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.99, 203.0.113.7, 10.0.0.2"));
/// let nobody = IdentitySettings::default();
/// assert_eq!(client(peer, &headers, &nobody), peer);
/// let ours = IdentitySettings { trusted_proxies: vec!["10.0.0.0/8".parse()?], ..nobody };
/// assert_eq!(client(peer, &headers, &ours), "203.0.113.7".parse::<IpAddr>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, settings: &IdentitySettings) -> IpAddr {
    let trusted = |address: IpAddr| is_trusted(address, settings);
    let mut believed = peer.to_canonical();
    if !trusted(believed) {
        return believed;
    }
    let (field, cut, address): (_, Cut, Parse) = match settings.forwarded_header {
        ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, last_plain, node),
        ForwardedHeader::Forwarded => (FORWARDED, last_quoted, forwarded_for),
    };
    // Several lines of a field are one list, in their order.
    let lines = headers.get_all(field).iter().rev().map(HeaderValue::as_bytes);
    for element in lines.flat_map(|line| Elements { rest: Some(line), cut }).take(MAX_HOPS) {
        let Some(address) = address(element) else { return believed };
        believed = address.to_canonical();
        if !trusted(believed) {
            return believed;
        }
    }
    believed
}

/// Whether this is the address of a [trusted proxy](IdentitySettings::trusted_proxies).
#[must_use]
pub fn is_trusted(address: IpAddr, settings: &IdentitySettings) -> bool {
    let address = address.to_canonical();
    settings.trusted_proxies.iter().any(|proxies| proxies.contains(&address))
}

/// The part of an address that tells clients apart: of an IPv6 address its first `ipv6_prefix` bits, an IPv4 address whole,
/// also in IPv6 form.
///
/// ```
/// use std::net::IpAddr;
/// use sluicegate_server::config::identity::masked;
///
/// assert_eq!(masked("2001:db8:1:2:3:4:5:6".parse()?, 64), "2001:db8:1:2::".parse::<IpAddr>()?);
/// assert_eq!(masked("::ffff:192.0.2.1".parse()?, 64), "192.0.2.1".parse::<IpAddr>()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn masked(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(ipv6_prefix))).unwrap_or(0);
            Ipv6Addr::from_bits(six.to_bits() & mask).into()
        }
        four => four,
    }
}

/// Cuts a list before its last element: what is left, and the element.
type Cut = fn(&[u8]) -> (Option<&[u8]>, &[u8]);

/// The address an element says, if any.
type Parse = fn(&[u8]) -> Option<IpAddr>;

/// The elements of a list, the last first.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    cut: Cut,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (rest, element) = (self.cut)(self.rest?);
        self.rest = rest;
        // An empty element counts: it stands where a hop reported nobody.
        Some(element.trim_ascii())
    }
}

fn last_plain(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    cut_at(list, list.iter().rposition(|byte| *byte == b','))
}

/// The same where elements hold quoted strings. Read from the end, a quote ends a string, and the next one without a
/// backslash before it begins it: as well-formed elements have it, whatever stands before them.
fn last_quoted(list: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut inside = false;
    let comma = list.iter().enumerate().rev().find(|&(at, byte)| {
        if *byte == b'"' {
            let backslashes = list[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            inside = !inside || backslashes % 2 == 1;
        }
        *byte == b',' && !inside
    });
    cut_at(list, comma.map(|(at, _)| at))
}

fn cut_at(list: &[u8], comma: Option<usize>) -> (Option<&[u8]>, &[u8]) {
    comma.map_or((None, list), |at| (Some(&list[..at]), &list[at + 1..]))
}

/// An address with or without a port, IPv6 with a port in brackets: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`. A port may be hidden (RFC 7239, section 6.3).
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok().filter(|text| text.len() <= MAX_NODE)?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port): (IpAddr, _) = match text.strip_prefix('[') {
        Some(six) => {
            let (six, rest) = six.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (six.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (four, port) = text.split_once(':')?;
            (four.parse::<Ipv4Addr>().ok()?.into(), Some(port))
        }
    };
    port.is_none_or(is_port).then_some(address)
}

fn is_port(port: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(hidden),
        None => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// The address of the `for` of an element of `Forwarded` (RFC 7239): pairs, separated by semicolons.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut rest = element;
    let mut found = None;
    loop {
        // Nothing between two semicolons is allowed.
        if rest.first().is_some_and(|byte| *byte != b';') {
            let end = rest.iter().position(|byte| !is_token(*byte)).filter(|end| *end > 0)?;
            let (name, value) = (&rest[..end], rest[end..].strip_prefix(b"=")?);
            let (value, after) = Value::read(value)?;
            if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
                return None;
            }
            rest = after.trim_ascii_start();
        }
        match rest.split_first() {
            Some((b';', after)) => rest = after.trim_ascii_start(),
            Some(_) => return None,
            None => return node(found?.as_bytes()),
        }
    }
}

/// The value of a pair, out of its quotes: as much of it as could be an address, and a byte more.
struct Value {
    bytes: [u8; MAX_NODE + 1],
    len: usize,
}

impl Value {
    /// Reads one, and returns what follows it.
    fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut value = Self { bytes: [0; MAX_NODE + 1], len: 0 };
        let Some(quoted) = text.strip_prefix(b"\"") else {
            // Outside quotes only a token is right, but proxies that forget them are clear enough.
            let bare = |byte: &u8| is_token(*byte) || matches!(byte, b':' | b'[' | b']');
            let (token, after) =
                text.split_at(text.iter().position(|byte| !bare(byte)).unwrap_or(text.len()));
            token.iter().for_each(|byte| value.push(*byte));
            return (!token.is_empty()).then_some((value, after));
        };
        let mut bytes = quoted.iter();
        loop {
            match bytes.next()? {
                b'"' => return Some((value, bytes.as_slice())),
                b'\\' => value.push(*bytes.next()?),
                byte => value.push(*byte),
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A letter of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
