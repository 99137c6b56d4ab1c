//! Scripts that are run bare: one `EVALSHA` a decision, by the client that the store uses too.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script, Value};

use super::subject::Ask;
use crate::error::Error;

/// The store's own script.
const OURS: &str = concat!(
    include_str!("../../../crates/sluicegate-redis/src/script/clock.lua"),
    include_str!("../../../crates/sluicegate-redis/src/script/arithmetic.lua"),
    include_str!("../../../crates/sluicegate-redis/src/script/buckets.lua"),
);

/// As little as a script can do that keeps a key and lets it expire, by the server's time; with answers as large as the store's.
const BARE: [&str; 2] = [
    "redis.call('TIME') redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[3], 'PX', 3600000) \
     return {0, 0, 0, 99, -1, 36000000}",
    "redis.call('TIME') redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[3], 'PX', 3600000) return {0, 1}",
];

/// Nothing at all.
const NOTHING: [&str; 2] = ["return {0, 0, 0, 99, -1, 36000000}", "return {0, 1}"];

/// [`QUOTA`](super::subject::QUOTA) as the store tells its script.
const QUOTA: [u8; 17] =
    [1, 0xce, 0x05, 0xf5, 0xe1, 0x00, 0xce, 0x05, 0xf5, 0xe1, 0x00, 1, 0xce, 0x02, 0x25, 0x51, 0x00];

/// Which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Ours,
    Bare,
    Nothing,
}

/// One script on one connection.
#[derive(Clone)]
pub(super) struct Plain {
    connection: MultiplexedConnection,
    name: &'static str,
    /// Hashes of what takes and what puts.
    hashes: [String; 2],
}

impl Plain {
    pub(super) async fn open(url: &str, name: &'static str, text: Text) -> Result<Self, Error> {
        let client = Client::open(url).map_err(Error::store("redis-server's address"))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(super::PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connection.map_err(Error::store("connecting"))?;
        let texts = match text {
            Text::Ours => [OURS, OURS],
            Text::Bare => BARE,
            Text::Nothing => NOTHING,
        };
        for text in texts {
            let load: Result<(), _> =
                redis::cmd("SCRIPT").arg("LOAD").arg(text).exec_async(&mut connection).await;
            load.map_err(Error::store("SCRIPT LOAD"))?;
        }
        let hashes = texts.map(|text| Script::new(text).get_hash().to_owned());
        Ok(Self { connection, name, hashes })
    }

    /// The same number of keys and arguments, of the same sizes, as the store sends. Whether it was granted.
    pub(super) async fn decide(&self, ask: Ask, key: &str) -> Result<bool, Error> {
        let (hash, operation) = match ask {
            Ask::Take => (&self.hashes[0], 0),
            Ask::Put => (&self.hashes[1], 4),
        };
        let mut request = Vec::with_capacity(29);
        request.push(operation);
        request.extend_from_slice(&0.0_f64.to_le_bytes());
        for place in [1_u32; 3] {
            request.extend_from_slice(&place.to_le_bytes());
        }
        request.extend_from_slice(&1.0_f64.to_le_bytes());
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(1).arg(format!("{}:{{{}:{key}}}limit", self.name, key.len()));
        // An epoch has as many digits as microseconds since 1970.
        command.arg(1_763_800_000_000_000_u64).arg("PUBLISH").arg(request).arg(&QUOTA);
        let said: Result<Value, _> = command.query_async(&mut self.connection.clone()).await;
        match said.map_err(Error::store("EVALSHA"))? {
            Value::Array(said) if ask == Ask::Take => Ok(said.get(2) == Some(&Value::Int(0))),
            Value::Array(said) => Ok(said.get(1) == Some(&Value::Int(1))),
            _ => Ok(false),
        }
    }
}
