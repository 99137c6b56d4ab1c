//! Where a run lives: a directory of its own, free ports, and the programs it needs.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// How many names were thought of.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A directory under the system's temporary one, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new one; never one that was there before, whoever made it.
    pub(crate) fn new() -> Result<Self, Error> {
        let base = std::env::temp_dir();
        for _ in 0..100 {
            // Never a name again that this process had before: whoever had it may look whether it is gone.
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("sluicegate-bench-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (),
                Err(e) => return Err(Error::io(format!("making {}", path.display()))(e)),
            }
        }
        let source = io::ErrorKind::AlreadyExists.into();
        Err(Error::Io { what: format!("making a directory under {}", base.display()), source })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it; answers where.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to tell; what stays is a few small files under the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ports of 127.0.0.1 that were free a moment ago, all different. Another program may take one before it is used;
/// then the one that wanted it says so and the run ends.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("looking for a free port"))?;
        *port = listener.local_addr().map_err(Error::io("looking for a free port"))?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A program from the distribution: from PATH, or from where Debian puts servers.
pub(crate) fn tool(tool: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places
        .find_map(|dir| Some(dir.join(tool)).filter(|file| file.is_file()))
        .ok_or(Error::MissingTool { tool, package })
}

/// This program.
pub(crate) fn own() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(Error::io("looking for this program's file"))
}

/// The `sluicegate` that was built beside this program.
pub(crate) fn sluicegate() -> Result<PathBuf, Error> {
    let file = own()?.with_file_name("sluicegate");
    if file.is_file() { Ok(file) } else { Err(Error::NotBuilt(file)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_goes_with_all_that_is_in_it() {
        let directory = Directory::new().unwrap();
        let other = Directory::new().unwrap();
        assert_ne!(directory.path(), other.path());
        let file = directory.write("some.conf", "text").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "text");
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists() && other.path().exists());
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let error = tool("no-such-tool", "its-package").unwrap_err().to_string();
        assert!(error.contains("no-such-tool") && error.contains("its-package"), "{error}");
        assert!(tool("sh", "dash").is_ok());
    }

    #[test]
    fn ports_differ() {
        let ports = free_ports::<20>().unwrap();
        assert_eq!(std::collections::HashSet::from(ports).len(), 20);
    }
}
