//! What an operator can set: the types, what is right of them, and the file that says it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`identity`] | who a client is taken for |
//! | [`limit`] | a limit as text: what makes up its key, and its quota |
//! | [`log`] | how records are logged |
//! | [`pattern`] | which requests a route is for |
//! | [`settings`] | all settings, and what is right of them |

pub mod identity;
pub mod limit;
pub mod log;
pub mod pattern;
pub mod settings;

pub use limit::{KeyPart, LimitRule};
pub use log::LogFormat;
pub use pattern::{HostPattern, Match, PathPattern};
pub use settings::{Settings, SettingsError};
