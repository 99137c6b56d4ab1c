//! `replay FILE`: asks our limiters what peers' limiters were asked, and compares. Exit codes: 0 all is as it must be,
//! 1 something is not, 2 wrong usage or a file that can't be read.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use sluicegate_testkit::replay;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        return fail(
            "usage: replay FILE, a file of facts such as crates/sluicegate-testkit/facts/limiters.json",
        );
    };
    let report = match replay::file(Path::new(&file)) {
        Ok(report) => report,
        Err(error) => return fail(&format!("replay: {error}")),
    };
    let is_written = writeln!(std::io::stdout().lock(), "{report}").is_ok();
    if is_written && report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(message: &str) -> ExitCode {
    // Where even standard error is gone, the exit code is all that can be said.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}
