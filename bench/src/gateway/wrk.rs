//! wrk: one turn of load, and what it said about it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::place::Directory;
use super::process::Process;
use crate::error::Error;
use crate::stop::Stop;

/// How often a running wrk is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How many seconds longer than its duration a wrk may take before the run is given up.
const GRACE: u32 = 30;

/// The load: closed loop, one thread, keep-alive.
#[derive(Debug)]
pub(crate) struct Wrk {
    /// Its program.
    pub(crate) program: PathBuf,
    /// How many connections it keeps busy.
    pub(crate) connections: u32,
}

/// One turn.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Answered requests.
    pub(crate) requests: f64,
    /// How long they took together, in seconds.
    pub(crate) seconds: f64,
    /// Median latency, in milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile of latency, in milliseconds.
    pub(crate) p99: f64,
    /// Answers whose status was neither 2xx nor 3xx.
    pub(crate) refused: u64,
    /// Connections that could not be made, reads and writes that failed or took over two seconds.
    pub(crate) broken: u64,
}

impl Wrk {
    /// Offers load to `port` for `seconds`.
    pub(crate) fn run(
        &self,
        port: u16,
        seconds: u32,
        directory: &Directory,
        stop: &Stop,
    ) -> Result<Sample, Error> {
        let mut command = Command::new(&self.program);
        command.args(["--latency", "-t1", &format!("-c{}", self.connections), &format!("-d{seconds}s")]);
        command.arg(format!("http://127.0.0.1:{port}/"));
        let mut wrk = Process::start("wrk", directory, &mut command)?;
        match stop.poll((seconds + GRACE) * 20, LOOK, || wrk.ended())? {
            Some(status) if status.success() => parse(&wrk.output()),
            ended => {
                let status =
                    ended.map_or_else(|| "it did not end in time".into(), |status| status.to_string());
                Err(Error::Ended { name: "wrk".into(), status, said: wrk.said() })
            }
        }
    }
}

/// What wrk prints with `--latency`. Lines about errors are there only when there were any.
fn parse(output: &str) -> Result<Sample, Error> {
    let unreadable = |what| move || Error::Unreadable { what, output: output.to_owned() };
    let after = |label: &str| output.lines().find_map(|line| line.trim().strip_prefix(label));
    let percentile = |label, what| after(label).and_then(milliseconds).ok_or_else(unreadable(what));
    let (requests, seconds) = output.lines().find_map(totals).ok_or_else(unreadable("count of requests"))?;
    let refused = match after("Non-2xx or 3xx responses:") {
        None => 0,
        Some(count) => count.trim().parse().map_err(|_| unreadable("count of refusals")())?,
    };
    let broken = match after("Socket errors:") {
        None => 0,
        Some(counts) => sum(counts).ok_or_else(unreadable("count of socket errors"))?,
    };
    Ok(Sample {
        requests,
        seconds,
        p50: percentile("50%", "median")?,
        p99: percentile("99%", "99th percentile")?,
        refused,
        broken,
    })
}

/// `290123 requests in 5.00s, 345.67MB read`
fn totals(line: &str) -> Option<(f64, f64)> {
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let seconds = milliseconds(rest.split(',').next()?)? / 1000.0;
    Some((requests.parse().ok()?, seconds)).filter(|(_, seconds)| *seconds > 0.0)
}

/// `connect 0, read 1, write 0, timeout 2`
fn sum(counts: &str) -> Option<u64> {
    counts.split(',').map(|part| part.trim().rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// `960.00us`, `1.01ms`, `5.00s`, `1.50m`, `1.00h`
fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[unit..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        _ => return None,
    };
    Some(text[..unit].parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests;
