//! The address of Redis, Valkey or their Cluster.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sluicegate::store::StoreError;
use sluicegate_redis::Settings;

use super::address::hidden;
use super::options::{Written, each};
use super::{AddressError, OpenError};

/// Where Redis is: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, by TLS `rediss://`, in a Cluster `redis+cluster://HOST,HOST`;
/// and how it is talked to. What [`Settings`] says of an address holds. In user and password, characters that mean something
/// in an address are written with `%`: `%40` for `@`. The values of options stand as they are, without `&` and `@`.
///
/// | option | means |
/// | --- | --- |
/// | `ca=FILE` | trusts who these certificates (PEM) certify, and not the system's authorities |
/// | `cert=FILE`, `key=FILE` | shows this certificate, and proves it by its key (both PEM) |
/// | `timeout=250ms` | how long an answer is waited for |
/// | `connect-timeout=1s` | how long a connection is waited for |
/// | `prefix=sluicegate` | what all names of keys begin with |
/// | `one-slot=TAG` | all keys in one slot of a Cluster |
///
/// It hides the password wherever it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Without options, with the password.
    url: String,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    prefix: Option<String>,
    one_slot: Option<String>,
}

const OPTIONS: [&str; 7] = ["ca", "cert", "key", "timeout", "connect-timeout", "prefix", "one-slot"];

impl RedisAddress {
    pub(super) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), connect_timeout: Some(timeout), ..self }
    }

    pub(super) fn in_folder(self, folder: &Path) -> Self {
        let moved = |file: Option<PathBuf>| file.map(|file| folder.join(file));
        Self { ca: moved(self.ca), cert: moved(self.cert), key: moved(self.key), ..self }
    }

    /// Reads what stands behind the scheme, which is known.
    pub(super) fn read(text: &str, scheme: &str, rest: &str) -> Result<Self, AddressError> {
        let wrong = |expected: &str| AddressError::place(text, expected);
        let Some(rest) = rest.strip_prefix("//") else {
            return Err(wrong(&format!("two slashes behind the colon, as in `{scheme}://127.0.0.1:6379`")));
        };
        let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(user, place)| (user, place));
        if user.contains(|letter: char| letter.is_whitespace() || "/?#@".contains(letter)) {
            return Err(wrong(
                "a user and a password with `%2F` for `/`, `%3F` for `?`, `%23` for `#`, `%40` for `@` and `%20` for a \
                 space; and no `@` in options",
            ));
        }
        let (place, options) =
            place.split_once('?').map_or((place, None), |(place, options)| (place, Some(options)));
        if place.contains(char::is_whitespace) {
            return Err(wrong("no spaces in it"));
        }
        if place.contains('#') {
            return Err(wrong("no `#` in it; whom certificates are checked against is said by `?ca=FILE`"));
        }
        let database = place.split_once('/').map_or("", |(_, database)| database);
        if scheme.ends_with("+cluster") && !["", "0"].contains(&database) {
            return Err(wrong("no database: a Cluster has one only"));
        }
        let at = if user.is_empty() { "" } else { "@" };
        let mut read = Self {
            url: format!("{scheme}://{user}{at}{place}"),
            ca: None,
            cert: None,
            key: None,
            timeout: None,
            connect_timeout: None,
            prefix: None,
            one_slot: None,
        };
        Settings::new(&read.url).map_err(|error| wrong(&expected(&error)))?;
        let is_encrypted = scheme.starts_with("rediss") || scheme.starts_with("valkeys");
        each(text, options, |given| {
            match given.name {
                "ca" | "cert" | "key" if !is_encrypted => {
                    return Err(given.wrong("TLS for it: `rediss` instead of `redis`"));
                }
                "ca" => read.ca = Some(given.file()?),
                "cert" => read.cert = Some(given.file()?),
                "key" => read.key = Some(given.file()?),
                "timeout" => read.timeout = Some(given.time()?),
                "connect-timeout" => read.connect_timeout = Some(given.time()?),
                "prefix" => {
                    let prefix = given.text()?;
                    no_braces(prefix).map_err(|expected| given.wrong(expected))?;
                    read.prefix = Some(prefix.to_owned());
                }
                "one-slot" => {
                    let tag = given.text()?;
                    no_braces(tag).map_err(|expected| given.wrong(expected))?;
                    read.one_slot = Some(tag.to_owned());
                }
                _ => return Err(given.unknown(&OPTIONS)),
            }
            Ok(())
        })?;
        if read.cert.is_some() != read.key.is_some() {
            return Err(wrong("options `cert` and `key` together, or neither"));
        }
        Ok(read)
    }

    /// What the store is told. Reads the files it names.
    pub(super) fn settings(&self) -> Result<Settings, OpenError> {
        let mut settings = Settings::new(&self.url)?;
        if let Some(prefix) = &self.prefix {
            settings = settings.prefix(prefix)?;
        }
        if let Some(tag) = &self.one_slot {
            settings = settings.one_slot(tag)?;
        }
        if let Some(timeout) = self.timeout {
            settings = settings.timeout(timeout);
        }
        if let Some(timeout) = self.connect_timeout {
            settings = settings.connect_timeout(timeout);
        }
        if let Some(ca) = &self.ca {
            settings = settings.trusting(certificates(ca)?);
        }
        if let Some((cert, key)) = self.cert.as_ref().zip(self.key.as_ref()) {
            settings = settings.certified(certificates(cert)?, read(key)?);
        }
        Ok(settings)
    }
}

fn expected(error: &StoreError) -> String {
    match error {
        StoreError::Unsupported { expected, .. } => expected.clone(),
        other => other.to_string(),
    }
}

/// As [`Settings`] asks for.
fn no_braces(text: &str) -> Result<(), &'static str> {
    if text.contains(['{', '}']) { Err("text without braces") } else { Ok(()) }
}

fn read(file: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(file).map_err(|error| OpenError::File { file: file.to_owned(), error })
}

/// A file with certificates. What is wrong in it would else come up only when Redis is asked.
fn certificates(file: &Path) -> Result<Vec<u8>, OpenError> {
    let pem = read(file)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|_| OpenError::NoCertificate { file: file.to_owned() })?;
        count += 1;
    }
    if count == 0 { Err(OpenError::NoCertificate { file: file.to_owned() }) } else { Ok(pem) }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hidden(&self.url))?;
        let mut options = Written::to(f);
        options.file("ca", self.ca.as_deref())?;
        options.file("cert", self.cert.as_deref())?;
        options.file("key", self.key.as_deref())?;
        options.time("timeout", self.timeout)?;
        options.time("connect-timeout", self.connect_timeout)?;
        options.one("prefix", self.prefix.as_deref())?;
        options.one("one-slot", self.one_slot.as_deref())
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}
