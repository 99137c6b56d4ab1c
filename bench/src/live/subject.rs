//! Who stands in front of the upstream, and how each is started.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use super::upstream::BODY;
use super::{Args, config};
use crate::conditions;
use crate::error::Error;
use crate::gateway::peers::nginx_args;
use crate::gateway::place::{self, Directory};
use crate::gateway::process::Process;
use crate::gateway::running::{Running, start_each};
use crate::stop::Stop;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// Our gateway, told nothing but that it should find the limit.
    Sluicegate,
    /// nginx with `limit_conn`, its number found by hand.
    Nginx,
    /// HAProxy with `maxconn` and a queue, its numbers found by hand.
    Haproxy,
    /// Our gateway with a queue of 100 in front of one place, and nothing else.
    Queue,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sluicegate => "sluicegate",
            Self::Nginx => "nginx limit_conn",
            Self::Haproxy => "HAProxy maxconn",
            Self::Queue => "queue of 100",
        })
    }
}

impl Subject {
    /// Its program, and the flag with which it says its version.
    fn program(self) -> Result<(PathBuf, &'static str), Error> {
        Ok(match self {
            Self::Sluicegate | Self::Queue => (place::sluicegate()?, "--version"),
            Self::Nginx => (place::tool("nginx", "nginx")?, "-v"),
            Self::Haproxy => (place::tool("haproxy", "haproxy")?, "-v"),
        })
    }

    /// Its version, and what it is told.
    pub(super) fn describe(self, args: &Args) -> Result<String, Error> {
        let (program, flag) = self.program()?;
        let (maxconn, queue) = config::HAPROXY;
        let told = match self {
            Self::Sluicegate | Self::Queue => format!("serve {}", self.flags(args).join(" ")),
            Self::Nginx => format!("limit_conn {}", config::NGINX),
            Self::Haproxy => format!("maxconn {maxconn}, refuses once {queue} wait"),
        };
        Ok(format!("{self}: {}, {told}", conditions::version(&program, flag)))
    }

    /// What the gateway is told besides addresses.
    fn flags(self, args: &Args) -> Vec<String> {
        let flags = if self == Self::Queue { "--concurrency 1 --queue 100" } else { &args.ours };
        flags.split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// Starts it on `port`, in front of `upstream`.
    fn start(self, args: &Args, directory: &Directory, port: u16, upstream: u16) -> Result<Process, Error> {
        let cores = conditions::cores();
        let mut command = Command::new(self.program()?.0);
        match self {
            Self::Sluicegate | Self::Queue => {
                let [admin] = place::free_ports()?;
                command.args(["serve", "--upstream", &format!("http://127.0.0.1:{upstream}")]);
                command.args(["--listen", &format!("127.0.0.1:{port}")]);
                command.args(["--admin", &format!("127.0.0.1:{admin}")]).args(self.flags(args))
            }
            Self::Nginx => {
                let text = config::nginx(directory.path(), cores, port, upstream);
                nginx_args(&mut command, directory, "nginx.conf", &text)?
            }
            Self::Haproxy => {
                let text = config::haproxy(cores, port, upstream);
                command.arg("-db").arg("-f").arg(directory.write("haproxy.cfg", &text)?)
            }
        };
        Process::start(&self.to_string(), directory, &mut command)
    }
}

/// Starts them, each once; answers once each gives the upstream's answer.
pub(super) fn start(
    args: &Args,
    directory: &Directory,
    upstream: u16,
    stop: &Stop,
) -> Result<Vec<Running<Subject>>, Error> {
    let mut all: Vec<Subject> = Vec::new();
    for &subject in &args.only {
        if !all.contains(&subject) {
            all.push(subject);
        }
    }
    start_each(&all, BODY, stop, |subject, port| subject.start(args, directory, port, upstream))
}
