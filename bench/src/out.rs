//! The one place that prints.

/// A result, to standard output.
#[expect(clippy::print_stdout, reason = "the report is what a bench is run for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Progress or a failure, to standard error: a redirected report stays clean.
#[expect(clippy::print_stderr, reason = "whoever waits for minutes wants to see that it goes on")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
