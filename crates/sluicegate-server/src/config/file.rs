//! What the file's tree means: settings. Where a value is wrong, a default stands in for it, so that the rest is looked at
//! too; what the file then says is refused anyway.

mod attempts;
mod queue;
mod route;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use http::Uri;
use sluicegate::quota::Quota;

use super::LogFormat;
use super::cost::Cost;
use super::limit::{KeyPart, KeyParts, LimitRule};
use super::settings::{
    ClientSettings, ForwardedHeader, IdentitySettings, LimitSettings, ListenerSettings, MAX_KEYS, Settings,
    TlsSettings, UpstreamSettings,
};
use super::store::policy;
use super::tree::{Reading, Section, Wrong};
use crate::flags::{address, deadline_header, duration, network, timeout};
use queue::queue;

/// The settings that a file's tables say. What is wrong is in the reading.
pub(super) fn settings<'t>(
    reading: &mut Reading<'t>,
    root: &mut Section<'t>,
    folder: &Path,
) -> (Settings, LogFormat) {
    let mut settings = Settings { admin: reading.text(root, "admin", address), ..Settings::default() };
    set(&mut settings.workers, reading.number(root, "workers"));
    set(&mut settings.grace, reading.text(root, "grace", duration));
    let log = reading.text(root, "log", log).unwrap_or_default();
    clients(reading, root, &mut settings.clients);
    identity(reading, root, &mut settings.identity);
    let listeners = reading.tables(root, "listener");
    if !listeners.is_empty() {
        let read =
            listeners.into_iter().enumerate().map(|(at, section)| listener(reading, section, at, folder));
        settings.listeners = read.collect();
    }
    let upstreams = reading.named(root, "upstream");
    if !upstreams.is_empty() {
        settings.upstreams =
            upstreams.into_iter().map(|(name, section)| upstream(reading, section, name)).collect();
    }
    store::store(reading, root, folder, &mut settings.store);
    let limits = reading.named(root, "limit");
    settings.limits = limits.into_iter().map(|(name, section)| limit(reading, section, name)).collect();
    let queues = reading.named(root, "queue");
    settings.queues = queues.into_iter().map(|(name, section)| queue(reading, section, name)).collect();
    route::routes(reading, root, &mut settings);
    reading.close(root);
    (settings, log)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn log(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("`text` or `json`".to_owned()),
    }
}

fn clients<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>, clients: &mut ClientSettings) {
    set(&mut clients.header_timeout, reading.text(root, "header-timeout", timeout));
    set(&mut clients.idle_timeout, reading.text(root, "idle-timeout", timeout));
    set(&mut clients.body_stall_timeout, reading.text(root, "body-stall-timeout", timeout));
    set(&mut clients.stream_idle_timeout, reading.text(root, "stream-idle-timeout", timeout));
    set(&mut clients.max_header_bytes, reading.number(root, "max-header-bytes"));
    set(&mut clients.max_headers, reading.number(root, "max-headers"));
    set(&mut clients.max_connections, reading.number(root, "max-connections"));
    set(&mut clients.max_streams, reading.number(root, "max-streams"));
    clients.deadline_header = reading.text(root, "deadline-header", deadline_header);
}

fn identity<'t>(reading: &mut Reading<'t>, root: &mut Section<'t>, identity: &mut IdentitySettings) {
    let proxies = reading.list(root, "trusted-proxies", "networks, such as `10.0.0.0/8`", network);
    identity.trusted_proxies = proxies.into_iter().map(|(proxies, _)| proxies).collect();
    set(&mut identity.forwarded_header, reading.text(root, "forwarded-header", forwarded_header));
    if let Some(bits) = reading.number(root, "ipv6-prefix") {
        match u8::try_from(bits) {
            Ok(bits) => identity.ipv6_prefix = bits,
            Err(_) => reading.out_of_range(root, "ipv6-prefix", &bits.to_string(), "from 1 to 128"),
        }
    }
}

fn forwarded_header(text: &str) -> Result<ForwardedHeader, String> {
    match text.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err("`x-forwarded-for` or `forwarded`".to_owned()),
    }
}

fn listener<'t>(
    reading: &mut Reading<'t>,
    section: Section<'t>,
    at: usize,
    folder: &Path,
) -> ListenerSettings {
    // Those that are no tables were left out.
    let mut section = section.renamed(format!("listener.{at}"));
    reading.places.add(section.path(), section.place.clone());
    reading.require(&section, "address", "where to serve, such as `address = \"127.0.0.1:8080\"`");
    let address = reading.text(&mut section, "address", address);
    let tls = reading.node(&mut section, "tls").and_then(|node| {
        let path = section.at("tls");
        let expected = "a table: `{ certificate = \"cert.pem\", key = \"key.pem\" }`";
        let Some(table) = node.get_ref().as_table() else {
            reading.wrong_kind(&path, node, expected);
            return None;
        };
        let mut tls = Section::new(path, node.span(), table);
        let file = |text: &str| match text {
            "" => Err("the name of a file".to_owned()),
            name => Ok(folder.join(name)),
        };
        reading.require(
            &tls,
            "certificate",
            "a file of PEM certificates, as in `certificate = \"cert.pem\"`",
        );
        reading.require(&tls, "key", "a file with the private key, as in `key = \"key.pem\"`");
        let certificate = reading.text(&mut tls, "certificate", file);
        let key = reading.text(&mut tls, "key", file);
        reading.close(&tls);
        Some(TlsSettings { certificate: certificate?, key: key? })
    });
    reading.close(&section);
    // Any free port goes together with all others.
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    ListenerSettings { address: address.unwrap_or(any), tls }
}

fn upstream<'t>(reading: &mut Reading<'t>, mut section: Section<'t>, name: &str) -> UpstreamSettings {
    let mut upstream = UpstreamSettings { name: name.to_owned(), ..UpstreamSettings::default() };
    let expected = "an address such as `http://127.0.0.1:9000`, without a path";
    reading.require(&section, "url", expected);
    let url = |text: &str| text.parse::<Uri>().map_err(|_| expected.to_owned());
    set(&mut upstream.url, reading.text(&mut section, "url", url));
    set(&mut upstream.connect_timeout, reading.text(&mut section, "connect-timeout", timeout));
    set(&mut upstream.idle, reading.number(&mut section, "idle"));
    set(&mut upstream.idle_timeout, reading.text(&mut section, "idle-timeout", timeout));
    upstream.deadline_header = reading.text(&mut section, "deadline-header", deadline_header);
    set(&mut upstream.deadline_reserve, reading.text(&mut section, "deadline-reserve", duration));
    reading.close(&section);
    upstream
}

fn limit<'t>(reading: &mut Reading<'t>, mut section: Section<'t>, name: &str) -> LimitSettings {
    reading.require(&section, "key", "what tells requests apart, such as `key = \"client.ip\"`");
    reading.require(&section, "quota", "how much each key may have, such as `quota = \"100/s burst 200\"`");
    let key = reading.text(&mut section, "key", str::parse::<KeyParts>);
    let cost = reading.text(&mut section, "cost", str::parse::<Cost>);
    // Of what is not known, a number of either is right.
    let of = cost.unwrap_or(if section.has("cost") { Cost::Bytes } else { Cost::default() });
    let quota = reading.text(&mut section, "quota", |text| quota(of, text));
    let max_keys = reading.number(&mut section, "max-keys");
    let away = reading.text(&mut section, "away", policy);
    let lease = reading.boolean(&mut section, "lease");
    reading.close(&section);
    let key = key.unwrap_or(KeyParts(vec![KeyPart::Global]));
    let rule = LimitRule { key, cost: of, quota: quota.unwrap_or(Quota::unlimited()) };
    let max_keys = max_keys.unwrap_or(MAX_KEYS);
    LimitSettings { name: name.to_owned(), rule, max_keys, away, lease }
}

/// A quota of what is counted. Which part of one of requests is wrong is told.
fn quota(cost: Cost, text: &str) -> Result<Quota, Wrong> {
    if cost == Cost::Requests && Cost::Bytes.quota(text).is_err() {
        return text.parse::<Quota>().map_err(Wrong::from);
    }
    cost.quota(text).map_err(Wrong::from)
}
