//! Where a load is sent: an `http://` URL taken apart.

use std::fmt;
use std::str::FromStr;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use super::plan::PlanError;

/// The URL a load is sent to. Plain HTTP only.
#[derive(Debug, Clone)]
pub struct Target {
    uri: Uri,
    /// Without the brackets of an IPv6 address, as a resolver wants it.
    host: String,
    port: u16,
    /// What the `Host` field says: host and port as written, without user information.
    authority: HeaderValue,
}

impl Target {
    /// The host to resolve: a name or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 where the URL names none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` field.
    #[must_use]
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The path and query to request, `/` where the URL has none.
    #[must_use]
    pub fn path(&self) -> PathAndQuery {
        self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }
}

impl FromStr for Target {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let invalid = |reason: &str| PlanError::Url { value: text.to_owned(), reason: reason.to_owned() };
        let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| invalid(&error.to_string()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(PlanError::Https { value: text.to_owned() });
            }
            Some(other) => return Err(invalid(&format!("{other}:// is not spoken here"))),
            None => return Err(invalid("it has no http:// in front")),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid("it names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        if uri.authority().is_some_and(|whole| whole.as_str().ends_with(':')) || port == 0 {
            return Err(invalid("its port is missing or 0"));
        }
        let authority = match uri.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: authority.try_into().map_err(|_| invalid("its host can't be put in a Host field"))?,
            uri,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target: Target = "http://me@example.org:8080/a?b=c#d".parse().unwrap();
        assert_eq!((target.host(), target.port()), ("example.org", 8080));
        assert_eq!(target.path().as_str(), "/a?b=c");
        assert_eq!(target.authority(), "example.org:8080");
        let target: Target = "http://[::1]".parse().unwrap();
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("::1", 80, "/"));
        assert_eq!(target.authority(), "[::1]");
    }

    #[test]
    fn what_cannot_be_loaded_says_why() {
        let why = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert!(why("https://example.org/").contains("TLS"));
        for text in
            ["127.0.0.1:80", "ftp://example.org/", "http://", "/path", "", "http://a:0/", "http://a b/"]
        {
            let why = why(text);
            assert!(why.starts_with("url: ") && why.contains("http://127.0.0.1:8080/"), "{text}: {why}");
        }
    }
}
