//! Connections as the client library has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{AsyncConnectionConfig, Client, Cmd, PushInfo, PushKind, RedisError, Value};

use sluicegate::store::parts::Watchers;

use crate::settings::Settings;

/// One connection, or one to each node of a Cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Many(ClusterConnection),
}

impl Connection {
    /// A new one. What it is told that somebody watches for wakes them; `has_ended` becomes true when it has.
    pub(crate) async fn open(
        settings: &Settings,
        watchers: &Arc<Watchers<Vec<u8>>>,
        has_ended: Arc<AtomicBool>,
    ) -> Result<Self, RedisError> {
        if settings.is_encrypted() {
            // Another may be installed already; then that is used.
            let ring = tokio_rustls::rustls::crypto::ring::default_provider();
            drop(ring.install_default());
        }
        let (watchers, is_cluster) = (Arc::clone(watchers), settings.names.is_cluster);
        let push = move |info: PushInfo| -> Result<(), ()> {
            match (info.kind, info.data.first()) {
                (PushKind::Message | PushKind::SMessage, Some(Value::BulkString(name))) => {
                    watchers.wake(name.as_slice())
                }
                (PushKind::Disconnection, _) => {
                    // In a Cluster it is one node's, and made anew by itself.
                    has_ended.store(!is_cluster, Ordering::Release);
                    watchers.wake_all();
                }
                (PushKind::SUnsubscribe, _) => watchers.wake_all(),
                _ => {}
            }
            Ok(())
        };
        if settings.names.is_cluster {
            // What has failed is not asked again behind our back: it may have been done.
            // A node that says nothing must not take all the time there is.
            let mut builder = ClusterClient::builder(settings.nodes.clone())
                .retries(0)
                .connection_timeout(settings.connect_timeout / 3)
                .response_timeout(settings.timeout)
                .push_sender(push);
            if let Some(certificates) = &settings.certificates {
                builder = builder.certs(certificates.clone());
            }
            return builder.build()?.get_async_connection().await.map(Self::Many);
        }
        let node = settings.nodes[0].clone();
        let client = match &settings.certificates {
            Some(certificates) => Client::build_with_tls(node, certificates.clone())?,
            None => Client::open(node)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.timeout))
            .set_push_sender(push);
        client.get_multiplexed_async_connection_with_config(&config).await.map(Self::One)
    }

    /// Runs a command.
    pub(crate) async fn run(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(one) => command.query_async(one).await,
            Self::Many(many) => command.query_async(many).await,
        }
    }

    /// Runs it on the node that a key is moving to.
    pub(crate) async fn run_at(&mut self, command: &Cmd, address: &str) -> Result<Value, RedisError> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let route =
            SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().unwrap_or(0) };
        let mut both = redis::pipe();
        both.add_command(redis::cmd("ASKING")).ignore();
        both.add_command(command.clone());
        match self {
            Self::One(one) => command.query_async(one).await,
            Self::Many(many) => {
                let mut values = many.route_pipeline(both, 1, 1, route).await?;
                values.pop().unwrap_or(Value::Nil).extract_error()
            }
        }
    }

    /// How keys' channels are named to the script, to be told of what is put.
    pub(crate) const fn publish(&self) -> &'static str {
        match self {
            Self::One(_) => "PUBLISH",
            Self::Many(_) => "SPUBLISH",
        }
    }

    /// Listens to these channels.
    pub(crate) async fn subscribe(&mut self, names: &[Vec<u8>]) -> Result<(), RedisError> {
        match self {
            Self::One(one) => one.subscribe(names).await,
            Self::Many(many) => {
                // One at a time: they are in slots.
                for name in names {
                    many.ssubscribe(name.as_slice()).await?;
                }
                Ok(())
            }
        }
    }

    /// Listens to this channel no longer.
    pub(crate) async fn unsubscribe(&mut self, name: &[u8]) -> Result<(), RedisError> {
        match self {
            Self::One(one) => one.unsubscribe(name).await,
            Self::Many(many) => many.sunsubscribe(name).await,
        }
    }
}
