//! Which store an argument means: what the examples beside this have in common.

use std::path::PathBuf;
use std::str::FromStr;

use sluicegate::store::StoreError;
use sluicegate_redis::Settings;
use thiserror::Error;

/// What `memory`, `disk:PATH` and `redis://HOST:PORT` mean.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Memory,
    Disk(PathBuf),
    Redis(Settings),
}

/// An address that means no store. Of what was given it says no more than the scheme: the rest may hold a password.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    #[error("`{0}` is no store: expected memory, disk:PATH or redis://HOST:PORT")]
    Unknown(String),
    #[error("disk: expected a file, as in disk:/var/lib/limits.redb")]
    NoFile,
    #[error(transparent)]
    Redis(#[from] StoreError),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "disk" if rest.is_empty() => Err(AddressError::NoFile),
            "disk" => Ok(Self::Disk(rest.into())),
            _ if scheme.starts_with("redis") || scheme.starts_with("valkey") => {
                Ok(Self::Redis(Settings::new(text)?))
            }
            _ => Err(AddressError::Unknown(scheme.to_owned())),
        }
    }
}
