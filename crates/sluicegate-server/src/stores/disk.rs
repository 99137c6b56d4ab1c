//! The address of a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluicegate_disk::{Disk, DiskError, MAX_KEYS, Options};

use super::AddressError;
use super::address::hidden;
use super::options::{Written, each};

/// A store's file: `disk:PATH`, and how it is written. The path stands as it is, up to the last `?`.
///
/// | option | means |
/// | --- | --- |
/// | `strict` | an answer is given once it can't be forgotten; so it is if nothing is said |
/// | `write-behind=100ms` | answers come at once; a crash forgets what was granted in the last such span, no more |
/// | `patience=1s` | how long an answer waits for the disk |
/// | `max-keys=1000000` | how many keys have a bucket of their own |
/// | `create=no` | a file that is not there is an error |
///
/// ```
/// use sluicegate_server::stores::StoreAddress;
///
/// let address: StoreAddress = "disk:/var/lib/quotas.redb?write-behind=100ms&create=no".parse()?;
/// assert_eq!(address.to_string(), "disk:/var/lib/quotas.redb?write-behind=100ms&create=no");
/// # Ok::<(), sluicegate_server::stores::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskAddress {
    file: PathBuf,
    /// None is strict.
    write_behind: Option<Duration>,
    patience: Option<Duration>,
    max_keys: Option<usize>,
    may_create: bool,
}

const OPTIONS: [&str; 5] = ["strict", "write-behind", "patience", "max-keys", "create"];

impl DiskAddress {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub(super) const fn patience(&self) -> Option<Duration> {
        self.patience
    }

    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    pub(super) fn in_folder(self, folder: &Path) -> Self {
        Self { file: folder.join(&self.file), ..self }
    }

    /// Reads what stands behind `disk:`.
    pub(super) fn read(text: &str, rest: &str) -> Result<Self, AddressError> {
        let (file, options) =
            rest.rsplit_once('?').map_or((rest, None), |(file, options)| (file, Some(options)));
        if file.is_empty() {
            return Err(AddressError::place(text, "a file's path, as in `disk:/var/lib/quotas.redb`"));
        }
        if let Some(path) = file.strip_prefix("//") {
            let right = hidden(path.trim_start_matches('/'));
            return Err(AddressError::place(text, format!("no host, only a path: `disk:/{right}`")));
        }
        if file.starts_with(char::is_whitespace) {
            let right = file.trim_start();
            return Err(AddressError::place(
                text,
                format!("the path right behind the colon: `disk:{right}`"),
            ));
        }
        let mut read = Self {
            file: PathBuf::from(file),
            write_behind: None,
            patience: None,
            max_keys: None,
            may_create: true,
        };
        let mut is_strict = false;
        each(text, options, |given| {
            match given.name {
                "strict" => {
                    given.alone()?;
                    is_strict = true;
                }
                "write-behind" => read.write_behind = Some(given.time()?),
                "patience" => read.patience = Some(given.time()?),
                "max-keys" => {
                    let number = given.text()?.parse().ok().filter(|keys| (1..=1 << 31).contains(keys));
                    let number = number.ok_or_else(|| given.wrong("a whole number from 1 to 2147483648"))?;
                    read.max_keys = Some(number);
                }
                "create" => {
                    read.may_create = match given.text()? {
                        "yes" => true,
                        "no" => false,
                        _ => return Err(given.wrong("`create=yes` or `create=no`")),
                    };
                }
                _ => return Err(given.unknown(&OPTIONS)),
            }
            if is_strict && read.write_behind.is_some() {
                return Err(given.wrong("either `strict` or `write-behind`"));
            }
            Ok(())
        })?;
        Ok(read)
    }

    pub(super) fn open(&self) -> Result<Disk, DiskError> {
        let options = Options::new().max_keys(self.max_keys.unwrap_or(MAX_KEYS)).create(self.may_create);
        let options = match self.write_behind {
            Some(at_most) => options.write_behind(at_most),
            None => options.strict(),
        };
        let options = match self.patience {
            Some(patience) => options.patience(patience),
            None => options,
        };
        options.open(&self.file)
    }
}

impl fmt::Display for DiskAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk:{}", self.file.display())?;
        let mut options = Written::to(f);
        options.time("write-behind", self.write_behind)?;
        options.time("patience", self.patience)?;
        options.one("max-keys", self.max_keys)?;
        options.one("create", (!self.may_create).then_some("no"))
    }
}
