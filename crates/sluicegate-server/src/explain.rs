//! `sluicegate explain`: what would become of a request.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::check::{CheckError, load};
use crate::config::explain::{Asked, explain};
use crate::gateway::wellformed;

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The request: a method and a path, such as `GET /login`; or a URL instead of the path
    #[arg(value_name = "REQUEST")]
    pub request: RequestLine,
    /// A field of the request; may repeat
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<Field>,
    /// The other end of the connection: the client, or the proxy in front
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub client: IpAddr,
    /// The host that is asked for; otherwise that of the URL or of the header
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The request comes over TLS
    #[arg(long)]
    pub tls: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A method and a target: `GET /login`, `GET http://a.test/login`; a target alone is asked for with GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Uri,
}

impl FromStr for RequestLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a method and a path, such as `GET /login`".to_owned();
        let (method, target) = text.trim().split_once(' ').unwrap_or(("GET", text.trim()));
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong())?;
        let target: Uri = target.trim().parse().map_err(|_| wrong())?;
        // A host alone is a target too, and most likely a path without its slash.
        if target.path().starts_with('/') { Ok(Self { method, target }) } else { Err(wrong()) }
    }
}

/// A field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field(pub HeaderName, pub HeaderValue);

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a name and a value, such as `X-Api-Key: secret`".to_owned();
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let name = name.parse().map_err(|_| wrong())?;
        Ok(Self(name, value.trim().parse().map_err(|_| wrong())?))
    }
}

impl From<&ExplainArgs> for Asked {
    fn from(args: &ExplainArgs) -> Self {
        let mut headers = HeaderMap::new();
        for Field(name, value) in &args.headers {
            headers.append(name, value.clone());
        }
        let RequestLine { method, target } = &args.request;
        let in_target = target.authority().map(|authority| authority.as_str().to_owned());
        let in_header =
            || headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let host = args.host.clone().or(in_target).or_else(in_header).unwrap_or_default();
        let (method, path) = (method.clone(), target.path().to_owned());
        Self { method, host, path, headers, peer: args.client, tls: args.tls }
    }
}

/// Prints what would become of a request, also where no route takes it; or what is wrong in the configuration, with exit
/// code 1.
///
/// # Errors
/// If the configuration can't be read.
pub fn command(args: &ExplainArgs) -> Result<ExitCode, CheckError> {
    let Some(config) = load(&args.config)? else { return Ok(ExitCode::FAILURE) };
    let mut asked = Asked::from(args);
    if asked.host.is_empty() && !asked.headers.contains_key(HOST) {
        // As a client names it that is given nothing but the address.
        asked.host = config.settings.listeners.first().map_or(String::new(), |at| at.address.to_string());
    }
    let mut explanation = explain(&config.settings, &asked);
    if let Err(refusal) = wellformed::target(&mut parts(args, &asked)) {
        explanation.refused = Some((refusal.status(None).as_u16(), refusal.brief().to_owned()));
        explanation.route = None;
        explanation.passed.clear();
    }
    let mut stdout = io::stdout();
    if args.json {
        let json = serde_json::to_string_pretty(&explanation).map_err(io::Error::from)?;
        writeln!(stdout, "{json}")?;
    } else {
        write!(stdout, "{explanation}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The header that such a request has, over HTTP/1.1.
fn parts(args: &ExplainArgs, asked: &Asked) -> http::request::Parts {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = asked.method.clone();
    parts.uri = args.request.target.clone();
    parts.headers = asked.headers.clone();
    if let Ok(host) = asked.host.parse() {
        parts.headers.insert(HOST, host);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_text() {
        let line = |text: &str| text.parse::<RequestLine>();
        let post = line("POST  http://a.test/b?c").unwrap();
        assert_eq!(
            (post.method, post.target.host(), post.target.path()),
            (Method::POST, Some("a.test"), "/b")
        );
        assert_eq!(line("/b").unwrap().method, Method::GET);
        for bad in ["", "GET", "GET b", "G T /", "GET /a b", "é /"] {
            assert!(line(bad).unwrap_err().contains("`GET /login`"), "{bad}");
        }
        assert_eq!(
            "A: b: c".parse(),
            Ok(Field(HeaderName::from_static("a"), HeaderValue::from_static("b: c")))
        );
        assert!(["a", ": b", "a b: c"].iter().all(|bad| bad.parse::<Field>().is_err()));
    }
}
