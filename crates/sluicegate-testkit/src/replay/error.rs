//! Why there was nothing to replay.

use std::fmt;
use std::path::PathBuf;

/// Why a replay could not be run. What a replay finds is no error but a [`Report`](super::Report).
#[derive(Debug)]
pub enum ReplayError {
    /// The file can't be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The facts are not what is known here: no JSON, or an unknown limiter, operation or field.
    Facts(serde_json::Error),
    /// The facts have another form.
    Version {
        /// The file's.
        version: u64,
        /// The one that can be read.
        known: u64,
    },
    /// A case contradicts itself.
    Case {
        /// Which.
        case: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The list of deviations is none.
    Deviations(toml::de::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Facts(error) => write!(f, "not a file of facts: {error}"),
            Self::Version { version, known } => {
                write!(f, "schema_version `{version}`: expected {known}")
            }
            Self::Case { case, why } => write!(f, "{case}: {why}"),
            Self::Deviations(error) => write!(f, "not a list of deviations: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Facts(error) => Some(error),
            Self::Deviations(error) => Some(error),
            Self::Version { .. } | Self::Case { .. } => None,
        }
    }
}
