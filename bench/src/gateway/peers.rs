//! Who takes part, and how each is started.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use clap::ValueEnum;

use super::config;
use super::place::{self, Directory};
use super::probe;
use super::process::Process;
use super::running::{Running, start_each};
use crate::conditions;
use crate::error::Error;
use crate::stop::Stop;
use crate::table::Goal;

/// A proxy that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Ours, with a limit, the queue and metrics on.
    Sluicegate,
    /// nginx with `limit_req`.
    Nginx,
    /// HAProxy with a stick table.
    Haproxy,
    /// hyper and hyper-util, nothing else.
    BareHyper,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sluicegate => "sluicegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::BareHyper => "bare hyper",
        })
    }
}

impl Peer {
    /// What ours aims at beside this peer, in requests a second.
    pub(crate) fn goal(self) -> Option<Goal> {
        match self {
            Self::Nginx => Some(Goal::AtLeast(0.9)),
            Self::BareHyper => Some(Goal::AtLeast(0.95)),
            Self::Sluicegate | Self::Haproxy => None,
        }
    }

    /// Its program, and the flag with which it says its version.
    fn program(self) -> Result<(PathBuf, &'static str), Error> {
        Ok(match self {
            Self::Sluicegate => (place::sluicegate()?, "--version"),
            Self::Nginx => (place::tool("nginx", "nginx")?, "-v"),
            Self::Haproxy => (place::tool("haproxy", "haproxy")?, "-v"),
            Self::BareHyper => (place::own()?, "--version"),
        })
    }

    /// Its program's version, as it says it.
    pub(crate) fn version(self) -> Result<String, Error> {
        let (program, flag) = self.program()?;
        Ok(conditions::version(&program, flag))
    }

    /// Starts it on `port`, in front of `upstream`.
    fn start(self, directory: &Directory, port: u16, upstream: u16) -> Result<Process, Error> {
        let cores = conditions::cores();
        let mut command = Command::new(self.program()?.0);
        match self {
            Self::Sluicegate => {
                let [admin] = place::free_ports()?;
                let limit = "client.ip 1000000/s burst 1000000";
                command.args(["serve", "--upstream", &format!("http://127.0.0.1:{upstream}")]);
                command.args([
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                    "--admin",
                    &format!("127.0.0.1:{admin}"),
                ]);
                command.args([
                    "--limit",
                    limit,
                    "--concurrency",
                    "256",
                    "--queue",
                    "1000",
                    "--deadline",
                    "10s",
                ])
            }
            Self::Nginx => {
                let text = config::nginx(directory.path(), cores, port, upstream);
                nginx_args(&mut command, directory, "nginx.conf", &text)?
            }
            Self::Haproxy => {
                let text = config::haproxy(cores, port, upstream);
                command.arg("-db").arg("-f").arg(directory.write("haproxy.cfg", &text)?)
            }
            Self::BareHyper => {
                command.args(["bare-hyper", "--listen", &format!("127.0.0.1:{port}"), "--upstream"]);
                command.args([&format!("http://127.0.0.1:{upstream}"), "--workers", &cores.to_string()])
            }
        };
        Process::start(&self.to_string(), directory, &mut command)
    }
}

/// A configuration of nginx, and the flags that name it.
pub(crate) fn nginx_args<'a>(
    command: &'a mut Command,
    directory: &Directory,
    file: &str,
    text: &str,
) -> Result<&'a mut Command, Error> {
    let file = directory.write(file, text)?;
    Ok(command.args(["-e", "stderr", "-p"]).arg(directory.path()).arg("-c").arg(file))
}

/// Starts the upstream and all `peers`; answers once each gives the upstream's answer.
pub(crate) fn start(
    peers: &[Peer],
    directory: &Directory,
    stop: &Stop,
) -> Result<(Process, Vec<Running<Peer>>), Error> {
    let [port] = place::free_ports()?;
    let mut command = Command::new(place::tool("nginx", "nginx")?);
    let text = config::upstream(directory.path(), port);
    nginx_args(&mut command, directory, "upstream.conf", &text)?;
    let mut upstream = Process::start("the upstream", directory, &mut command)?;
    let body = config::body();
    probe::until_ready(&mut upstream, port, &body, stop)?;
    let running = start_each(peers, &body, stop, |peer, own| peer.start(directory, own, port))?;
    Ok((upstream, running))
}
