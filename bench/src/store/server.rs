//! A Redis server of this run's own.

use std::process::Command;
use std::time::Duration;

use redis::{Client, Connection};

use crate::error::Error;
use crate::gateway::place::{self, Directory};
use crate::gateway::process::Process;
use crate::stop::Stop;

/// How often a server that was started is tried, and how many times: 5 s.
const TRIES: (u32, Duration) = (250, Duration::from_millis(20));

/// A running `redis-server` that keeps nothing; ended when this is dropped.
pub(super) struct Server {
    url: String,
    control: Connection,
    _process: Process,
    _directory: Directory,
}

impl Server {
    pub(super) fn start(stop: &Stop) -> Result<Self, Error> {
        let directory = Directory::new()?;
        let [port] = place::free_ports()?;
        let mut command = Command::new(place::tool("redis-server", "redis-server")?);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(directory.path());
        let mut process = Process::start("redis-server", &directory, &mut command)?;
        let url = format!("redis://127.0.0.1:{port}");
        let client = Client::open(url.as_str()).map_err(Error::store("redis-server's address"))?;
        let control = stop.poll(TRIES.0, TRIES.1, || {
            process.check()?;
            Ok(client.get_connection().ok())
        })?;
        let Some(control) = control else {
            let (name, said) = (process.name().to_owned(), process.said());
            return Err(Error::NotReady { name, port, why: "no answer".into(), said });
        };
        Ok(Self { url, control, _process: process, _directory: directory })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Forgets all keys.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        redis::cmd("FLUSHALL").exec(&mut self.control).map_err(Error::store("FLUSHALL"))
    }

    /// Microseconds of processor time that it has used so far.
    pub(super) fn cpu(&mut self) -> Result<f64, Error> {
        Ok((self.info("cpu", "used_cpu_user")? + self.info("cpu", "used_cpu_sys")?) * 1e6)
    }

    /// Bytes that it has allocated.
    pub(super) fn memory(&mut self) -> Result<f64, Error> {
        self.info("memory", "used_memory")
    }

    /// How many keys it has.
    pub(super) fn keys(&mut self) -> Result<u64, Error> {
        redis::cmd("DBSIZE").query(&mut self.control).map_err(Error::store("DBSIZE"))
    }

    fn info(&mut self, section: &str, field: &'static str) -> Result<f64, Error> {
        let text: String =
            redis::cmd("INFO").arg(section).query(&mut self.control).map_err(Error::store("INFO"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|value| value.parse().ok()).ok_or_else(|| Error::store(field)("INFO does not tell it"))
    }
}
