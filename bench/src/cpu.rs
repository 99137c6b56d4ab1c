//! The processor time of a process and its children, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::error::Error;

/// Length of a tick in `/proc/PID/stat`. Linux's ABI fixes 100 a second for every architecture our peers run on.
const TICK: Duration = Duration::from_millis(10);

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time, its own and that of children it has waited for.
    ticks: u64,
}

/// User and system time that `root` and all its descendants have used so far, to 10 ms.
///
/// The kernel charges loopback's network work to whoever runs when it happens, mostly the sender; all peers alike.
pub(crate) fn of_tree(root: u32) -> Result<Duration, Error> {
    let entries = fs::read_dir("/proc").map_err(Error::io("reading /proc"))?;
    let stats: Vec<Stat> = entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter_map(|line| parse(&line))
        .collect();
    let ticks = ticks_of_tree(&stats, root);
    Ok(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
}

fn ticks_of_tree(stats: &[Stat], root: u32) -> u64 {
    let own: u64 = stats.iter().filter(|stat| stat.pid == root).map(|stat| stat.ticks).sum();
    let children = stats.iter().filter(|stat| stat.parent == root && stat.pid != root);
    own + children.map(|child| ticks_of_tree(stats, child.pid)).sum::<u64>()
}

/// `proc(5)`: pid, (name), state, parent, …; 14 to 17 are utime, stime, cutime, cstime. A name may hold anything, so
/// fields are counted from the last parenthesis.
fn parse(line: &str) -> Option<Stat> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Stat { pid, parent: u32::try_from(number(4)?).ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 0 20 0 1 0 12345 1000 200";
        assert_eq!(parse(line), Some(Stat { pid: 42, parent: 7, ticks: 123 }));
        assert_eq!(parse("42 (cut off"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_tree_is_its_root_and_all_below() {
        let stat = |pid, parent, ticks| Stat { pid, parent, ticks };
        let stats =
            [stat(1, 0, 1000), stat(10, 1, 1), stat(11, 10, 20), stat(12, 11, 300), stat(13, 1, 5000)];
        assert_eq!(ticks_of_tree(&stats, 10), 321);
        assert_eq!(ticks_of_tree(&stats, 99), 0);
    }

    #[test]
    fn this_process_is_found() {
        assert!(of_tree(std::process::id()).is_ok());
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(parse(&own).map(|stat| stat.pid), Some(std::process::id()));
    }
}
