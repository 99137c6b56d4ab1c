//! How records are logged.

use clap::ValueEnum;

/// How records are logged.
///
/// ```
/// use clap::ValueEnum;
/// use sluicegate_server::config::LogFormat;
/// assert_eq!(LogFormat::from_str("json", false), Ok(LogFormat::Json));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}
