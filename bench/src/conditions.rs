//! What a reader must know about the machine to judge the numbers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Cores, processor, kernel, how busy they are before the run (more than a little, and the numbers are of no use), and
/// the commit, in one line.
pub(crate) fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{} cores ({}), load {load} before, Linux {}, commit {}",
        cores(),
        processor(),
        kernel.trim(),
        commit()
    )
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

/// Of the directory the bench is run in.
fn commit() -> String {
    let git = |args: &[&str]| first_line("git", args).filter(|_| succeeds("git", args));
    match git(&["rev-parse", "--short", "--verify", "HEAD"]) {
        None => "unknown".into(),
        Some(commit) if git(&["status", "--porcelain"]).is_some() => format!("{commit} with changes"),
        Some(commit) => commit,
    }
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// What a program says its version is: the first line it prints, whatever its exit code (wrk's is 1), less decoration.
pub(crate) fn version(program: &Path, flag: &str) -> String {
    let line = first_line(&program.to_string_lossy(), &[flag]).unwrap_or_else(|| "unknown".into());
    let line = line.strip_prefix("nginx version: ").unwrap_or(&line);
    let end = [" Copyright", " - http"].iter().filter_map(|mark| line.find(mark)).min();
    line[..end.unwrap_or(line.len())].to_owned()
}

/// The version of a crate that this program is built with.
pub(crate) fn locked(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let found =
        include_str!("../../Cargo.lock").split_once(&entry).and_then(|(_, rest)| rest.split('"').next());
    found.unwrap_or("unknown")
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&said).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}
