//! The flags of `serve`, and the settings they say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{StatusCode, Uri};
use ipnet::IpNet;
use sluicegate::breaker::Policy;
use sluicegate_tower::http::deadline::Field;

use super::LogFormat;
use super::queue_args::QueueArgs;
use super::said::SaidFlags;
use crate::config::attempts::{After, HedgeSettings, RetrySettings, replay};
use crate::config::settings::{
    AttemptSettings, ClientSettings, Concurrency, DEFAULT, ForwardedHeader, IdentitySettings, LimitSettings,
    ListenerSettings, RouteSettings, StoreSettings, TlsSettings, UpstreamSettings,
};
use crate::config::store::policy;
use crate::config::{LimitRule, Settings};
use crate::flags::{address, deadline_header, duration, network, refusal_status, timeout};
use crate::stores::StoreAddress;

/// Flags of `serve`. Their defaults are those of [`Settings`].
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which of them were said. The first: what is read after it is taken out of what it looks at.
    #[command(flatten)]
    pub said: SaidFlags,
    /// The service behind the gateway; may repeat, for several that serve the same
    #[arg(long = "upstream", value_name = "URL", default_value = "http://127.0.0.1:9000")]
    pub upstreams: Vec<Uri>,
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
    #[arg(long, value_name = "TIME", value_parser = timeout, requires = "store")]
    pub store_timeout: Option<Duration>,
    /// What is answered while the store is away: everything (open), nothing (closed), or this gateway's share of each quota (share)
    #[arg(long, value_name = "POLICY", default_value = "share", value_parser = policy, requires = "store")]
    pub away: Policy,
    /// Among how many gateways quotas are divided while the store is away, at the least; more, where more were seen
    #[arg(long, value_name = "N", default_value_t = 1, requires = "store")]
    pub instances: usize,
    /// Takes tokens from the store in advance and holds them for so long at the most, so that few requests ask it
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "store")]
    pub lease: Option<Duration>,
    /// How many requests are at the upstream at once: a number, or `adaptive`, which finds it out, and keeps the line short (see
    /// --queue-wait); without, as many as come
    #[arg(long, value_name = "N|adaptive")]
    pub concurrency: Option<Concurrency>,
    /// What queues, and whom it serves
    #[command(flatten)]
    pub queueing: QueueArgs,
    /// How long a request may take until its answer begins, waiting included
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub deadline: Duration,
    /// How long one attempt may take until its answer begins; without, as long as the request has
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub attempt_timeout: Option<Duration>,
    /// Tries a request again that fails, if it may be sent twice, at another upstream if there is one: so often at the most, the
    /// first time included, and one time more for each ten requests
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "3")]
    pub retry: Option<usize>,
    /// Asks another upstream as well where an answer is later than this: a time, or a percentile of the answers, such as p95
    #[arg(long, value_name = "TIME")]
    pub hedge: Option<After>,
    /// How much of a request's body is kept to be sent again, such as 64KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = replay)]
    pub replay: usize,
    /// The field in which a client may say how many milliseconds it waits; or grpc-timeout, with its units
    #[arg(long, value_name = "NAME", value_parser = deadline_header)]
    pub deadline_header: Option<Field>,
    /// The field that tells the upstream how many milliseconds a request has left; or grpc-timeout
    #[arg(long, value_name = "NAME", value_parser = deadline_header)]
    pub upstream_deadline_header: Option<Field>,
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
        let upstream = |(at, url): (usize, &Uri)| UpstreamSettings {
            name: if at == 0 { name() } else { format!("{DEFAULT}-{}", at + 1) },
            url: url.clone(),
            connect_timeout: args.connect_timeout,
            idle: args.upstream_idle,
            idle_timeout: args.upstream_idle_timeout,
            deadline_header: args.upstream_deadline_header.clone(),
            ..UpstreamSettings::default()
        };
        let upstreams: Vec<_> = args.upstreams.iter().enumerate().map(upstream).collect();
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
            queues: vec![args.queueing.settings(args.concurrency.clone(), args.reject_status)],
            routes: vec![RouteSettings {
                upstreams: upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
                attempts: AttemptSettings {
                    retry: args.retry.map(|attempts| RetrySettings { attempts, ..RetrySettings::default() }),
                    hedge: args.hedge.map(HedgeSettings::new),
                    replay: args.replay,
                    timeout: args.attempt_timeout,
                },
                limits: limits.iter().map(|limit| limit.name.clone()).collect(),
                deadline: args.deadline,
                ..RouteSettings::default()
            }],
            limits,
            upstreams,
            clients: ClientSettings {
                header_timeout: args.header_timeout,
                idle_timeout: args.idle_timeout,
                body_stall_timeout: args.body_stall_timeout,
                stream_idle_timeout: args.stream_idle_timeout,
                max_header_bytes: args.max_header_bytes,
                max_headers: args.max_headers,
                max_connections: args.max_connections,
                max_streams: args.max_streams,
                deadline_header: args.deadline_header.clone(),
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
