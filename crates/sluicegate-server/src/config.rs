//! What an operator can set: the types, what is right of them, and the file that says it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`read`](mod@read) | from a file to settings, or to all that is wrong in it |
//! | [`mistake`] | what is wrong in a file, shown in its place |
//! | [`explain`] | what would become of a request |
//! | [`identity`] | who a client is taken for |
//! | [`attempts`] | how often a request is sent, and when another time |
//! | [`cost`] | what a limit counts: requests, or the bytes of their bodies |
//! | [`limit`] | a limit as text: what makes up its key, what it counts, and its quota |
//! | [`log`] | how records are logged |
//! | [`paths`] | how a path is read |
//! | [`pattern`] | which requests a route is for |
//! | [`queue`] | places at an upstream, and who gets them in which order |
//! | [`settings`] | all settings, and what is right of them |
//! | [`store`] | where limits' buckets are, and what is done while that is away |

pub mod attempts;
pub mod cost;
pub mod explain;
mod file;
pub mod identity;
pub mod limit;
pub mod log;
pub mod mistake;
pub mod paths;
pub mod pattern;
pub mod queue;
pub mod read;
pub mod settings;
pub mod store;
mod tree;

pub use cost::Cost;
pub use limit::{KeyPart, LimitRule};
pub use log::LogFormat;
pub use pattern::{HostPattern, Match, PathPattern};
pub use read::{Config, ConfigError, parse, read};
pub use settings::{Settings, SettingsError};
