//! A program we started: ended with us whatever happens, and what it said kept for the error that needs it.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::place::Directory;
use crate::error::Error;

/// How often a process that was asked to end is looked at, and how many times before it is killed: 3 s.
const END: (u32, Duration) = (150, Duration::from_millis(20));

/// A running program. Dropping it ends it: SIGTERM to its own pid (nginx takes its workers along), then SIGKILL.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// What it wrote to standard output and standard error.
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to a file in `directory`.
    pub(crate) fn start(name: &str, directory: &Directory, command: &mut Command) -> Result<Self, Error> {
        let log = directory.write(&format!("{}.log", name.replace(' ', "-")), "")?;
        let append = || {
            File::options().append(true).open(&log).map_err(Error::io(format!("opening {}", log.display())))
        };
        command.stdin(Stdio::null()).stdout(append()?).stderr(append()?);
        let child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        Ok(Self { name: name.into(), child, log })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(Error::io(format!("looking at {}", self.name)))
    }

    /// An error once it ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => {
                Err(Error::Ended { name: self.name.clone(), status: status.to_string(), said: self.said() })
            }
        }
    }

    /// All it printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read(&self.log).map_or_else(|e| e.to_string(), |said| String::from_utf8_lossy(&said).into_owned())
    }

    /// The last lines it printed.
    pub(crate) fn said(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // While `try_wait` says it runs it is not reaped, so the pid is still its own.
        if self.running() && terminate(self.id()).is_ok() {
            for _ in 0..END.0 {
                if !self.running() {
                    return;
                }
                thread::park_timeout(END.1);
            }
        }
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGTERM. The standard library only knows SIGKILL, under which nginx would leave its workers behind; a shell's
/// `kill` is on every machine that has a peer to measure.
fn terminate(pid: u32) -> io::Result<()> {
    let sent = Command::new("sh")
        .args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if sent.success() { Ok(()) } else { Err(io::Error::other(sent.to_string())) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shell(directory: &Directory, script: &str) -> Process {
        Process::start("some shell", directory, Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn dropping_ends_it() {
        let directory = Directory::new().unwrap();
        let process = shell(&directory, "exec sleep 1000");
        let proc = format!("/proc/{}", process.id());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    fn one_that_ended_says_how_and_what_it_said() {
        let directory = Directory::new().unwrap();
        let mut process = shell(&directory, "echo its last words >&2; exit 3");
        let _ = process.child.wait();
        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("its last words"), "{error}");
    }
}
