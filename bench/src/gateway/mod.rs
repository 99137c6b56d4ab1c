//! `bench gateway`: ours, nginx, HAProxy and a bare hyper proxy in front of one upstream, in turns under the same wrk.
//!
//! All of them, the upstream and wrk share the machine's cores, so requests/s say how much of the machine a proxy
//! leaves to the others; the processor time of a request says the same more directly.

pub(crate) mod bare;
pub(crate) mod config;
pub(crate) mod peers;
pub(crate) mod place;
pub(crate) mod probe;
pub(crate) mod process;
mod rows;
pub(crate) mod running;
mod wrk;

use clap::value_parser;

use self::peers::Peer;
use self::place::Directory;
use self::rows::Turn;
use self::running::Running;
use self::wrk::Wrk;
use crate::conditions;
use crate::cpu;
use crate::error::Error;
use crate::out;
use crate::rounds;
use crate::stop::Stop;
use crate::table::Report;

/// How the gateway is measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of load for each proxy in each round
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=3600))]
    duration: u32,
    /// How many rounds; fewer than 5 show that it runs, not how fast
    #[arg(long, default_value_t = rounds::FEWEST, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How many connections wrk keeps busy
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Seconds of load for each proxy before the rounds
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=3600))]
    warm_up: u32,
    /// Only these proxies, as in `bare-hyper,nginx`
    #[arg(long, value_delimiter = ',', default_value = "sluicegate,nginx,haproxy,bare-hyper")]
    only: Vec<Peer>,
}

/// Measures.
///
/// # Errors
/// A missing program, one that does not start or answers wrongly, or an early end. Whatever was started is ended.
pub(crate) fn run(args: &Args, stop: &Stop) -> Result<Report, Error> {
    let wrk = Wrk { program: place::tool("wrk", "wrk")?, connections: args.connections };
    let mut peers: Vec<Peer> = Vec::new();
    for &peer in &args.only {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    let conditions = describe(args, &peers, &wrk)?;
    let directory = Directory::new()?;
    let (_upstream, mut running) = peers::start(&peers, &directory, stop)?;
    let turn = |round: &str, seconds: u32, proxy: &mut Running<Peer>| {
        let turn = take_turn(&wrk, seconds, proxy, &directory, stop)?;
        let (peer, rate, cpu) = (proxy.who, turn.rate(), turn.cpu);
        out::note(&format!("{round}: {peer:<10} {rate:>7.0} requests/s, {cpu:.1} us CPU each"));
        Ok::<_, Error>(turn)
    };
    for proxy in &mut running {
        turn("warm-up", args.warm_up, proxy)?;
    }
    let turns = rounds::interleave(&mut running, args.rounds, |round, proxy| {
        turn(&format!("round {round} of {}", args.rounds), args.duration, proxy)
    })?;
    let measured: Vec<(Peer, Vec<Turn>)> = peers.into_iter().zip(turns).collect();
    Ok(Report {
        conditions,
        rows: rows::rows(&measured),
        faults: measured.iter().filter_map(rows::fault).collect(),
    })
}

fn take_turn(
    wrk: &Wrk,
    seconds: u32,
    proxy: &mut Running<Peer>,
    directory: &Directory,
    stop: &Stop,
) -> Result<Turn, Error> {
    proxy.process.check()?;
    let before = cpu::of_tree(proxy.process.id())?;
    let sample = wrk.run(proxy.port, seconds, directory, stop)?;
    let used = cpu::of_tree(proxy.process.id())?.saturating_sub(before);
    proxy.process.check()?;
    Ok(Turn::new(sample, used))
}

fn describe(args: &Args, peers: &[Peer], wrk: &Wrk) -> Result<Vec<String>, Error> {
    let mut lines = vec![
        conditions::machine(),
        format!(
            "{} connections, {} rounds of {} s for each in turn, after {} s of warm-up each; upstream: nginx, 1 worker, 1 KiB",
            args.connections, args.rounds, args.duration, args.warm_up
        ),
        conditions::version(&wrk.program, "-v"),
    ];
    for &peer in peers {
        lines.push(format!("{peer}: {}", peer.version()?));
    }
    if args.rounds < rounds::FEWEST {
        lines.push(format!("fewer than {} rounds: this shows that it runs, not how fast", rounds::FEWEST));
    }
    Ok(lines)
}
