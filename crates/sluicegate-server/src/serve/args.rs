//! The flags of `serve`, and the settings they say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{StatusCode, Uri};
use ipnet::IpNet;
use sluicegate::breaker::Policy;

use super::LogFormat;
use crate::config::settings::{
    ClientSettings, DEFAULT, ForwardedHeader, IdentitySettings, LimitSettings, ListenerSettings,
    QueueSettings, RouteSettings, StoreSettings, TlsSettings, UpstreamSettings,
};
use crate::config::store::policy;
use crate::config::{LimitRule, Settings};
use crate::flags::{address, duration, network, refusal_status, timeout};
use crate::stores::StoreAddress;

/// Flags of `serve`. Their defaults are those of [`Settings`].
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The service behind the gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    pub upstream: Uri,
    /// A file that says all of this and more (listeners, routes); read anew on SIGHUP and when it changes
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub config: Option<PathBuf>,
    /// Where to serve; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Where to serve /healthz, /readyz, /metrics and /limits, for operators only; without, nowhere
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// A key and the quota of each of its values, such as `client.ip 100/s burst 200` or `client.ip bytes 10MiB/s`; may
    /// repeat. Keys: global, client.ip, header:NAME, path, or several joined by +. What counts: requests (if nothing is
    /// said), or the bytes of bodies: request-bytes, response-bytes, bytes (both)
    #[arg(long = "limit", value_name = "KEY [COST] QUOTA")]
    pub limits: Vec<LimitRule>,
    /// How many keys each limit keeps apart; those beyond share one bucket
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub max_keys: usize,
    /// Where the limits' buckets are: `memory`, `disk:FILE` (they survive a restart), `redis://HOST:PORT`, `rediss://…` or
    /// `redis+cluster://…` (gateways share them)
    #[arg(long, value_name = "ADDRESS", default_value_t = StoreAddress::Memory)]
    pub store: StoreAddress,
    /// How long the store's answer is waited for; without, as long as its address says, or 100ms
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub store_timeout: Option<Duration>,
    /// What is answered while the store is away: everything (open), nothing (closed), or this gateway's share of each quota (share)
    #[arg(long, value_name = "POLICY", default_value = "share", value_parser = policy)]
    pub away: Policy,
    /// Among how many gateways quotas are divided while the store is away, at the least; more, where more were seen
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub instances: usize,
    /// Takes tokens from the store in advance and holds them for so long at the most, so that few requests ask it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lease: Option<Duration>,
    /// How many requests are at the upstream at once; without, as many as come
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// How many requests wait for one of those places
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub queue: usize,
    /// How long a request may take until its answer begins, waiting included
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub deadline: Duration,
    /// The status for a full queue
    #[arg(long, value_name = "STATUS", default_value = "503", value_parser = refusal_status)]
    pub reject_status: StatusCode,
    /// How long connecting to the upstream may take
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = timeout)]
    pub connect_timeout: Duration,
    /// How long a client may take to send a request's header
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub header_timeout: Duration,
    /// How long a connection may be silent between requests
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout)]
    pub idle_timeout: Duration,
    /// How long an event stream or an upgraded connection may be silent
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = timeout)]
    pub stream_idle_timeout: Duration,
    /// How long a body may make no progress
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub body_stall_timeout: Duration,
    /// The size of a request's header, in bytes
    #[arg(long, value_name = "N", default_value_t = 16 * 1024)]
    pub max_header_bytes: usize,
    /// How many fields a request's header may have
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_headers: usize,
    /// How many client connections are open at once; more wait to be accepted
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub max_connections: usize,
    /// How many requests an HTTP/2 connection may have open at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_streams: usize,
    /// A file with the certificate chain to serve TLS with, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// A file with its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// A network of proxies that are believed about whom they forward for; may repeat
    #[arg(long = "trusted-proxy", value_name = "NETWORK", value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// The field they say it in
    #[arg(long, value_enum, value_name = "FIELD", default_value_t = ForwardedHeader::XForwardedFor)]
    pub forwarded_header: ForwardedHeader,
    /// How much of an IPv6 address tells clients apart, in bits
    #[arg(long, value_name = "BITS", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=128))]
    pub ipv6_prefix: u8,
    /// How many idle connections to the upstream are kept, rounded up to a multiple of the workers
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub upstream_idle: usize,
    /// How long an idle connection to the upstream is kept
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub upstream_idle_timeout: Duration,
    /// How many threads serve; 0 is one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub workers: usize,
    /// How long to finish what is in flight after SIGTERM or SIGINT; what is left then is cut, and the exit code is 1
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
    /// How records are logged, on standard error; RUST_LOG chooses which
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

impl From<&ServeArgs> for Settings {
    fn from(args: &ServeArgs) -> Self {
        let mut limits: Vec<LimitSettings> = Vec::new();
        for rule in &args.limits {
            let base = rule.name();
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            let is_free = |name: &String| limits.iter().all(|limit| limit.name != *name);
            if let Some(name) = std::iter::once(base.clone()).chain(numbered).find(is_free) {
                let max_keys = args.max_keys;
                limits.push(LimitSettings { max_keys, ..LimitSettings::new(name, rule.clone()) });
            }
        }
        let tls = args.tls_certificate.clone().zip(args.tls_key.clone());
        let tls = tls.map(|(certificate, key)| TlsSettings { certificate, key });
        let name = || DEFAULT.to_owned();
        Self {
            listeners: vec![ListenerSettings { address: args.listen, tls }],
            admin: args.admin,
            store: StoreSettings {
                address: args.store.clone(),
                timeout: args.store_timeout,
                away: args.away,
                instances: args.instances,
                lease: args.lease,
                ..StoreSettings::default()
            },
            queues: vec![QueueSettings {
                name: name(),
                concurrency: args.concurrency,
                waiting: args.queue,
                reject_status: args.reject_status,
            }],
            upstreams: vec![UpstreamSettings {
                name: name(),
                url: args.upstream.clone(),
                connect_timeout: args.connect_timeout,
                idle: args.upstream_idle,
                idle_timeout: args.upstream_idle_timeout,
            }],
            routes: vec![RouteSettings {
                limits: limits.iter().map(|limit| limit.name.clone()).collect(),
                deadline: args.deadline,
                ..RouteSettings::default()
            }],
            limits,
            clients: ClientSettings {
                header_timeout: args.header_timeout,
                idle_timeout: args.idle_timeout,
                body_stall_timeout: args.body_stall_timeout,
                stream_idle_timeout: args.stream_idle_timeout,
                max_header_bytes: args.max_header_bytes,
                max_headers: args.max_headers,
                max_connections: args.max_connections,
                max_streams: args.max_streams,
            },
            identity: IdentitySettings {
                trusted_proxies: args.trusted_proxies.clone(),
                forwarded_header: args.forwarded_header,
                ipv6_prefix: args.ipv6_prefix,
            },
            workers: args.workers,
            grace: args.grace,
        }
    }
}

/// The flag that says a setting.
pub(super) fn flag(setting: &str) -> String {
    let flag = match setting {
        "listener.0.address" => "listen",
        "queue.default.waiting" => "queue",
        "queue.default.concurrency" => "concurrency",
        "queue.default.reject-status" => "reject-status",
        "upstream.default.url" => "upstream",
        "upstream.default.connect-timeout" => "connect-timeout",
        "upstream.default.idle" => "upstream-idle",
        "upstream.default.idle-timeout" => "upstream-idle-timeout",
        "route.default.deadline" => "deadline",
        "route.default.limits" => "limit",
        "store.timeout" => "store-timeout",
        "store.instances" => "instances",
        "store.lease" => "lease",
        limit if limit.starts_with("limit.") && limit.ends_with(".max-keys") => "max-keys",
        limit if limit.starts_with("limit.") && limit.ends_with(".quota") => "limit",
        same => same,
    };
    format!("--{flag}")
}
