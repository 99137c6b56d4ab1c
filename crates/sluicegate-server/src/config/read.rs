//! From a file to [`Settings`], or to all that is wrong in it.

pub(crate) mod pointless;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::LogFormat;
use super::file::settings;
use super::mistake::{MAX_KEPT, Mistake, Mistakes, shown};
use super::settings::{Settings, SettingsError};
use super::tree::{Places, Reading, Section};
use pointless::{Pointless, Said};

/// The size of a file, at most. It is read whole.
pub const MAX_BYTES: usize = 1 << 20;

/// What a file says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings that are [right](Settings::checked).
    pub settings: Settings,
    /// How records are logged.
    pub log: LogFormat,
    /// What the file sets up and never uses, or says to no effect.
    pub warnings: Mistakes,
    /// Where it says what.
    pub source: Source,
}

/// A file that was read: tells where in it a setting stands.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: Arc<str>,
    places: Places,
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{} can't be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It is too large.
    #[error("{}: expected at most {MAX_BYTES} bytes, and it has more", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// It is no text.
    #[error("{}:{line}: expected UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// The first line that is not UTF-8.
        line: usize,
    },
    /// It says something wrong.
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

impl ConfigError {
    /// For people: each mistake in its place.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        if let Self::Wrong(mistakes) = self { mistakes.render(colour) } else { self.to_string() }
    }

    /// For logs: one line for each mistake.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        if let Self::Wrong(mistakes) = self { mistakes.lines().collect() } else { vec![self.to_string()] }
    }
}

/// Reads a configuration file.
///
/// # Errors
/// If it can't be read, or with all that is wrong in it.
pub fn read(file: &Path) -> Result<Config, ConfigError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
    if bytes.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge { file: file.to_owned() });
    }
    let text = str::from_utf8(&bytes).map_err(|error| {
        let right = &bytes[..error.valid_up_to()];
        ConfigError::NotText {
            file: file.to_owned(),
            line: right.iter().filter(|byte| **byte == b'\n').count() + 1,
        }
    })?;
    parse(file, text)
}

/// Reads the text of a configuration file. Names of files in it are taken from the folder of `file`, which itself is not
/// looked at.
///
/// ```
/// use std::path::Path;
/// let text = "
///     [upstream.api]
///     url = 'http://127.0.0.1:9000'
///     [[route]]
///     limits = ['client.ip 100/s']
/// ";
/// let config = sluicegate_server::config::parse(Path::new("gateway.toml"), text)?;
/// assert_eq!(config.settings.limits[0].name, "route-1/client.ip");
/// assert_eq!(config.settings.routes[0].name, "route-1");
/// # Ok::<(), sluicegate_server::config::ConfigError>(())
/// ```
///
/// # Errors
/// With all that is wrong in it; where it is no TOML, only with that.
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let owned: Arc<str> = text.into();
    let none = || Mistakes::new(file, Arc::clone(&owned));
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading::new(text, none());
    reading.mistakes.leave_out(errors.len().saturating_sub(MAX_KEPT));
    for error in errors.into_iter().take(MAX_KEPT) {
        let (message, expected) = syntax(error.message());
        reading.wrong(error.span().unwrap_or(0..0), message, expected);
    }
    if reading.mistakes.count() > 0 {
        return Err(reading.mistakes.into());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut root = Section::new("", table.span(), table.get_ref());
    let has_upstream = root.has("upstream");
    let (settings, log) = settings(&mut reading, &mut root, folder);
    let Reading { mut mistakes, places, .. } = reading;
    let source = Source { file: file.to_owned(), text: Arc::clone(&owned), places };
    let mut errors = settings.mistakes();
    // What a route has of its own is called like it; the name is the route's mistake.
    errors.sort_by_key(|error| !error.setting.starts_with("route."));
    for error in errors {
        let mistake = source.mistake(&error);
        // A value that could not be read stands for another one, which may then be out of place.
        if mistakes.iter().all(|known| known.place != mistake.place || mistake.place.is_empty()) {
            mistakes.add(mistake);
        }
    }
    if mistakes.count() == 0 && !has_upstream {
        // Most likely a file that is not written to its end yet: it is not taken for one that means the defaults.
        let expected = "where requests go: `[upstream.NAME]` with `url = \"http://127.0.0.1:9000\"`";
        mistakes.add(Mistake::new(0..0, "there is no upstream", expected));
    }
    if mistakes.count() > 0 {
        return Err(mistakes.into());
    }
    let mut warnings = none();
    unused(&settings, &source, &mut warnings);
    for Pointless { setting, why, expected } in pointless::pointless(&settings, &source.places) {
        let place = source.places.find(&setting);
        warnings.add(Mistake::new(place, format!("`{setting}`: {why}"), expected));
    }
    Ok(Config { settings, log, warnings, source })
}

/// In a file.
impl Said for Places {
    fn is_said(&self, setting: &str) -> bool {
        self.first(setting).is_some()
    }

    fn name(&self, setting: &str) -> String {
        setting.rsplit('.').next().unwrap_or_default().to_owned()
    }

    fn pick<'a>(&self, in_file: &'a str, _: &'a str) -> &'a str {
        in_file
    }
}

/// What toml says, as what is wrong and what would be right.
fn syntax(message: &str) -> (String, String) {
    let expected = if message == "duplicate key" { "each key once" } else { "" };
    let (wrong, expected) = message.split_once(", expected ").unwrap_or((message, expected));
    (shown(wrong), shown(expected))
}

/// Limits, queues and upstreams that are on no request's way: most likely a route was meant to name them.
fn unused(settings: &Settings, source: &Source, warnings: &mut Mistakes) {
    let routes = &settings.routes;
    let limits: HashSet<&String> = routes.iter().flat_map(|route| &route.limits).collect();
    let queues: HashSet<&String> = routes.iter().map(|route| &route.queue).collect();
    let upstreams: HashSet<&String> = routes.iter().flat_map(|route| &route.upstreams).collect();
    for (kind, used) in [("limit", limits), ("queue", queues), ("upstream", upstreams)] {
        for name in source.places.names(kind).filter(|name| !used.iter().any(|used| used == name)) {
            let place = source.places.find(&format!("{kind}.{name}"));
            warnings.add(Mistake::new(
                place,
                format!("no route has the {kind} `{name}`"),
                "a route that names it",
            ));
        }
    }
}

impl Source {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Shows in the file what was found wrong with settings later, such as when they were put to use.
    #[must_use]
    pub fn wrong(&self, errors: &[SettingsError]) -> ConfigError {
        let mut mistakes = Mistakes::new(&self.file, Arc::clone(&self.text));
        errors.iter().for_each(|error| mistakes.add(self.mistake(error)));
        mistakes.into()
    }

    fn mistake(&self, error: &SettingsError) -> Mistake {
        let SettingsError { setting, value, expected, beside } = error;
        let place = self.places.find(setting);
        let mut expected = expected.clone();
        let kind = reference(setting);
        if kind == Some("limit") && beside.is_none() {
            expected.push_str("; or a rule of this route's own, such as `client.ip 5/s`");
        }
        // A route beside another one: it stands behind what matches all that it would.
        let message = match beside {
            Some(other)
                if other != setting
                    && kind.is_none()
                    && setting.strip_prefix("route.") == Some(value.as_str()) =>
            {
                format!("the route `{}` can never match", shown(value))
            }
            _ => format!("`{}` can't be `{}`", shown(setting), shown(value)),
        };
        let beside =
            beside.as_ref().and_then(|other| self.places.first(other)).filter(|other| *other != place);
        let mistake = Mistake { beside, ..Mistake::new(place, message, expected) };
        match kind {
            Some(kind) => mistake.nearest(value, self.places.names(kind)),
            None => mistake,
        }
    }
}

/// What a setting names, if it names something: `route.login.upstream` an upstream, `route.login.limits.0` a limit.
fn reference(setting: &str) -> Option<&'static str> {
    let inside = setting.strip_prefix("route.")?;
    let (rest, last) = inside.rsplit_once('.')?;
    match last {
        "upstream" => Some("upstream"),
        "queue" => Some("queue"),
        number if rest.ends_with(".upstreams") && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some("upstream")
        }
        number if rest.ends_with(".limits") && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some("limit")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
