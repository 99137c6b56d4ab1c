//! Those who take part, once each of them answers.

use std::fmt::Display;

use super::process::Process;
use super::{place, probe};
use crate::error::Error;
use crate::out;
use crate::stop::Stop;

/// One that answers.
#[derive(Debug)]
pub(crate) struct Running<W> {
    /// Which.
    pub(crate) who: W,
    /// Where, on 127.0.0.1.
    pub(crate) port: u16,
    /// Its process, for its processor time; ended when this is dropped.
    pub(crate) process: Process,
}

/// Has `start` start each, on a port of its own, one after the other: the next once this one gives the upstream's answer, `body`.
///
/// # Errors
/// The first that does not start, or does not answer so.
pub(crate) fn start_each<W: Copy + Display>(
    all: &[W],
    body: &str,
    stop: &Stop,
    start: impl Fn(W, u16) -> Result<Process, Error>,
) -> Result<Vec<Running<W>>, Error> {
    let start_one = |&who: &W| -> Result<Running<W>, Error> {
        out::note(&format!("starting {who}"));
        let [port] = place::free_ports()?;
        let mut process = start(who, port)?;
        probe::until_ready(&mut process, port, body, stop)?;
        Ok(Running { who, port, process })
    };
    all.iter().map(start_one).collect()
}
