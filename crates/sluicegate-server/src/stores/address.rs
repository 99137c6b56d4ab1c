//! A store's address as text.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::{DiskAddress, RedisAddress};
use crate::flags::nearest;

/// What is an address, for errors.
const EXPECTED: &str =
    "`memory`, `disk:PATH`, `redis://HOST:PORT` or `redis+cluster://HOST:PORT,HOST:PORT` (`rediss` for TLS)";

/// What the known addresses begin with; `valkey` may be said for `redis`.
const SCHEMES: [&str; 10] = [
    "memory",
    "disk",
    "redis",
    "rediss",
    "redis+cluster",
    "rediss+cluster",
    "valkey",
    "valkeys",
    "valkey+cluster",
    "valkeys+cluster",
];

/// Where a store is, and how it is used. Shown, it hides passwords.
///
/// ```
/// use sluicegate_server::stores::StoreAddress;
///
/// let address: StoreAddress = "Redis://limits:secret@10.0.0.7/2?timeout=100ms".parse()?;
/// assert_eq!(address.to_string(), "redis://limits:…@10.0.0.7/2?timeout=100ms");
/// assert!(!format!("{address:?}").contains("secret"));
///
/// let error = "reddis://10.0.0.7".parse::<StoreAddress>().unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `redis`?"), "{error}");
/// # Ok::<(), sluicegate_server::stores::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this process.
    Memory,
    /// In a file.
    Disk(DiskAddress),
    /// In Redis, Valkey or their Cluster.
    Redis(RedisAddress),
}

impl StoreAddress {
    /// Whether what is kept there outlives this process.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// Whether other processes can use it at the same time.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// The same, with the names of files that it has taken from this folder, where they don't begin at the root.
    #[must_use]
    pub fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::Memory => Self::Memory,
            Self::Disk(disk) => Self::Disk(disk.in_folder(folder)),
            Self::Redis(redis) => Self::Redis(redis.in_folder(folder)),
        }
    }

    /// The same, whose answers are waited for no longer than this, whatever it says itself: its `timeout` and
    /// `connect-timeout`, or its `patience`. Nothing waits for a store in this process.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        match self {
            Self::Memory => Self::Memory,
            Self::Disk(disk) => Self::Disk(disk.with_patience(timeout)),
            Self::Redis(redis) => Self::Redis(redis.with_timeout(timeout)),
        }
    }

    /// How long an answer is waited for, if the address says it.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Memory => None,
            Self::Disk(disk) => disk.patience(),
            Self::Redis(redis) => redis.timeout(),
        }
    }
}

impl FromStr for StoreAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match (scheme.to_ascii_lowercase().as_str(), rest) {
            ("", "") => Err(AddressError::Empty),
            ("memory", "") if !text.ends_with(':') => Ok(Self::Memory),
            ("memory", _) => {
                Err(AddressError::place(text, "`memory` and nothing behind it: it is in this process"))
            }
            ("disk", rest) => DiskAddress::read(text, rest).map(Self::Disk),
            (known, rest) if SCHEMES.contains(&known) => {
                RedisAddress::read(text, known, rest).map(Self::Redis)
            }
            (unknown, _) => Err(AddressError::unknown(text, unknown)),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Disk(disk) => disk.fmt(f),
            Self::Redis(redis) => redis.fmt(f),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

/// Why a text is no store's address. Says what would be right, and never a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is nothing.
    #[error("a store without an address: expected {EXPECTED}")]
    Empty,
    /// It begins with something that no store is called.
    #[error("`{address}`: expected {EXPECTED}{}", meant(hint.as_deref()))]
    Scheme {
        /// The address, without passwords.
        address: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// What stands behind the scheme is wrong.
    #[error("`{address}`: expected {expected}")]
    Place {
        /// The address, without passwords.
        address: String,
        /// What would be right.
        expected: String,
    },
    /// An option is unknown, or has a value that can't be.
    #[error("`{address}`: option `{option}`: expected {expected}{}", meant(hint.as_deref()))]
    Option {
        /// The address, without passwords.
        address: String,
        /// The option, as it stands there.
        option: String,
        /// What would be right.
        expected: String,
        /// What was probably meant.
        hint: Option<String>,
    },
}

impl AddressError {
    /// What would be right, to be read after "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Empty => EXPECTED.to_owned(),
            Self::Scheme { hint, .. } => format!("{EXPECTED}{}", meant(hint.as_deref())),
            Self::Place { expected, .. } => expected.clone(),
            Self::Option { option, expected, hint, .. } => {
                format!("of `{option}` {expected}{}", meant(hint.as_deref()))
            }
        }
    }

    pub(super) fn place(text: &str, expected: impl Into<String>) -> Self {
        Self::Place { address: hidden(text), expected: expected.into() }
    }

    fn unknown(text: &str, scheme: &str) -> Self {
        let behind = text.get(scheme.len() + 1..).unwrap_or_default();
        let is_port = |text: &str| text.split(['/', '?']).next().is_some_and(|it| it.parse::<u16>().is_ok());
        let address = hidden(text);
        if ["unix", "redis+unix", "valkey+unix"].contains(&scheme) {
            return Self::place(
                text,
                "a host, such as `redis://127.0.0.1:6379`: sockets of Unix are not spoken",
            );
        }
        let hint = if !text.contains("://") && ["/", "./", "../", "~"].iter().any(|it| text.starts_with(it)) {
            Some(format!("disk:{address}"))
        } else if ["file", "redb"].contains(&scheme) {
            Some("disk".to_owned())
        } else if !text.contains(['@', ' ']) && is_port(behind) {
            Some(format!("redis://{address}"))
        } else {
            nearest(scheme, SCHEMES.into_iter()).map(str::to_owned)
        };
        Self::Scheme { address, hint }
    }
}

fn meant(hint: Option<&str>) -> String {
    hint.map_or(String::new(), |hint| format!("; did you mean `{hint}`?"))
}

/// A text that may be an address, as it may be shown: whatever could be a password is left out, and what is not printable.
pub(crate) fn hidden(text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    let Some((user, rest)) = text.rsplit_once('@') else { return without_user(&text) };
    let (scheme, user) = match user.split_once("://") {
        Some((scheme, user)) if !scheme.contains([':', '@']) => (format!("{scheme}://"), user),
        _ => (String::new(), user),
    };
    // A name without a password may be one that was put in the wrong place.
    let named = user.split_once(':').filter(|(_, password)| !password.is_empty());
    let user = named.map_or(String::new(), |(user, _)| format!("{user}:"));
    format!("{scheme}{user}…@{}", without_secrets(rest))
}

/// Without an `@` there is no user: but its host may have been forgotten, and then a password stands where a port would.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return without_secrets(text) };
    let (hosts, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) if !port.chars().all(|digit| digit.is_ascii_digit()) && !host.ends_with(']') => {
            format!("{name}:…")
        }
        _ => host.to_owned(),
    };
    let hosts: Vec<String> = hosts.split(',').map(host).collect();
    format!("{scheme}://{}{}", hosts.join(","), without_secrets(rest))
}

/// No address has an option with a password; those of other programs do.
fn without_secrets(rest: &str) -> String {
    let Some((place, options)) = rest.split_once('?') else { return rest.to_owned() };
    let option = |option: &str| match option.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => format!("{name}=…"),
        _ => option.to_owned(),
    };
    let options: Vec<String> = options.split('&').map(option).collect();
    format!("{place}?{}", options.join("&"))
}

/// Whether something of this name is no one else's to know.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "pwd", "pw", "secret", "auth", "token", "credential"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests;
