//! What a key is called where an operator sees it.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::HeaderValue;
use http::request::Parts;
use sluicegate::memory;

use super::Limit;
use crate::config::limit::KeyPart;
use crate::config::paths::Readings;

impl Limit {
    /// What a request's key among `keys` is called. `client` is as much of its address as counts, of an IPv6 address `ipv6_prefix`
    /// bits.
    ///
    /// Values of fields are not in it: they may be what lets somebody in. In their place stands a [fingerprint](memory::Key::fingerprint)
    /// of them, 48 bits of a hash whose seed nobody knows: so who sees two of them knows whether they are of the same values, and
    /// can't find those by trying.
    pub(super) fn called(
        &self,
        keys: &memory::Limit,
        request: &Parts,
        (client, ipv6_prefix): (IpAddr, u8),
    ) -> String {
        let mut name = String::new();
        for part in &self.settings.rule.key.0 {
            if !name.is_empty() {
                name.push(' ');
            }
            // Writing to a string does not fail.
            let _ = match part {
                KeyPart::Global => write!(name, "global"),
                KeyPart::ClientIp if client.is_ipv6() => write!(name, "{client}/{ipv6_prefix}"),
                KeyPart::ClientIp => write!(name, "{client}"),
                KeyPart::Path => write!(name, "{}", Readings::of(request.uri.path()).strict),
                KeyPart::Header(field) if !request.headers.contains_key(field) => {
                    write!(name, "{field} absent")
                }
                KeyPart::Header(field) => {
                    let values = request.headers.get_all(field).iter().map(HeaderValue::as_bytes);
                    write!(name, "{field}=#{:012x}", keys.key(values.map(Some)).fingerprint() >> 16)
                }
            };
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{CLIENT, limits, request};
    use super::*;

    #[test]
    fn a_key_is_called_by_its_parts_and_never_by_what_may_be_a_secret() {
        let called = |rule: &str, request: &Parts, client: IpAddr| {
            let limits = limits(&[rule]);
            let limit = &limits.each[0];
            limit.called(&limit.keys, request, (client, 64))
        };
        let asked = request("/a%62?secret=1", &[("x-api-key", "secret"), ("x-api-key", "other")]);
        assert_eq!(called("global 1/s", &asked, CLIENT), "global");
        assert_eq!(called("client.ip+path 1/s", &asked, CLIENT), "10.0.0.1 /ab");
        let six = "2001:db8::".parse().unwrap();
        assert_eq!(called("client.ip 1/s", &asked, six), "2001:db8::/64");
        let none = request("/", &[]);
        assert_eq!(called("path+header:x-api-key 1/s", &none, CLIENT), "/ x-api-key absent");

        let key = called("header:x-api-key+client.ip 1/s", &asked, CLIENT);
        let (print, rest) = key.strip_prefix("x-api-key=#").unwrap().split_once(' ').unwrap();
        assert!(print.len() == 12 && print.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
        assert_eq!(rest, "10.0.0.1");
    }

    #[test]
    fn a_fingerprint_is_of_all_values_and_of_this_limit() {
        let (one, other) = (limits(&["header:k 1/s"]), limits(&["header:k 1/s"]));
        let called = |limits: &super::super::RouteLimits, values: &[(&str, &str)]| {
            let limit = &limits.each[0];
            limit.called(&limit.keys, &request("/", values), (CLIENT, 64))
        };
        let print = called(&one, &[("k", "a"), ("k", "b")]);
        assert_eq!(print, called(&one, &[("k", "a"), ("k", "b")]));
        assert_ne!(print, called(&one, &[("k", "ab")]));
        assert_ne!(print, called(&one, &[("k", "a")]));
        assert_ne!(print, called(&other, &[("k", "a"), ("k", "b")]), "another seed");
    }
}
