//! What stands behind the `?` of an address: options, joined by `&`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::AddressError;
use super::address::{hidden, is_secret};
use crate::flags::{nearest, timeout};

/// An option that was given.
pub(super) struct Given<'t> {
    /// The whole address.
    address: &'t str,
    /// As it stands there.
    text: &'t str,
    pub(super) name: &'t str,
    value: Option<&'t str>,
}

/// Hands the options of an address over one by one, each once.
pub(super) fn each<'t>(
    address: &'t str,
    options: Option<&'t str>,
    mut take: impl FnMut(&Given<'t>) -> Result<(), AddressError>,
) -> Result<(), AddressError> {
    let mut seen: Vec<&str> = Vec::new();
    for text in options.into_iter().flat_map(|options| options.split('&')) {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let given = Given { address, text, name, value };
        if seen.contains(&name) {
            return Err(given.wrong("each option once"));
        }
        seen.push(name);
        take(&given)?;
    }
    Ok(())
}

impl Given<'_> {
    pub(super) fn wrong(&self, expected: impl Into<String>) -> AddressError {
        AddressError::Option {
            address: hidden(self.address),
            option: self.shown(),
            expected: expected.into(),
            hint: None,
        }
    }

    /// As it may be shown.
    fn shown(&self) -> String {
        match self.value {
            Some(value) if !value.is_empty() && is_secret(self.name) => format!("{}=…", hidden(self.name)),
            _ => hidden(self.text),
        }
    }

    /// None of these.
    pub(super) fn unknown(&self, known: &[&str]) -> AddressError {
        AddressError::Option {
            address: hidden(self.address),
            option: self.shown(),
            expected: format!("one of {}", known.join(", ")),
            hint: nearest(self.name, known.iter().copied()).map(str::to_owned),
        }
    }

    /// An option that is said alone.
    pub(super) fn alone(&self) -> Result<(), AddressError> {
        if self.value.is_none() { Ok(()) } else { Err(self.wrong(format!("`{}` alone", self.name))) }
    }

    /// What stands behind the equals sign.
    pub(super) fn text(&self) -> Result<&str, AddressError> {
        let some = self.value.filter(|value| !value.is_empty());
        some.ok_or_else(|| self.wrong(format!("a value, as in `{}=…`", self.name)))
    }

    /// A time that something is waited for.
    pub(super) fn time(&self) -> Result<Duration, AddressError> {
        timeout(self.value.unwrap_or_default()).map_err(|expected| {
            let time = expected.strip_prefix("expected ").unwrap_or(&expected);
            self.wrong(format!("{time}, as in `{}=100ms`", self.name))
        })
    }

    /// The name of a file.
    pub(super) fn file(&self) -> Result<PathBuf, AddressError> {
        self.text().map(PathBuf::from)
    }
}

/// Writes options as they are read: the first behind a `?`.
pub(super) struct Written<'f, 'b> {
    f: &'f mut fmt::Formatter<'b>,
    joint: char,
}

impl<'f, 'b> Written<'f, 'b> {
    pub(super) const fn to(f: &'f mut fmt::Formatter<'b>) -> Self {
        Self { f, joint: '?' }
    }

    pub(super) fn one(&mut self, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        let joint = std::mem::replace(&mut self.joint, '&');
        write!(self.f, "{joint}{name}={value}")
    }

    pub(super) fn file(&mut self, name: &str, file: Option<&Path>) -> fmt::Result {
        self.one(name, file.map(Path::display))
    }

    pub(super) fn time(&mut self, name: &str, time: Option<Duration>) -> fmt::Result {
        // As it is read: without fractions.
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us"), (1, "ns")];
        let text = |time: Duration| {
            let nanos = time.as_nanos();
            let unit = units.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
            unit.map(|(unit, name)| format!("{}{name}", nanos / unit))
        };
        self.one(name, time.and_then(text))
    }
}
