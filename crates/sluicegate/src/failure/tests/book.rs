//! What is wrong with the book's errors, and isn't with ours.

use super::*;

/// The book's lowest module: it knows that there may be no such file, and nothing else.
fn is_executable(path: &str) -> Result<bool, FailureOf<Files>> {
    let found = match path {
        "/bad/job/binary" => Err(io::Error::from(io::ErrorKind::NotFound)),
        "/torn" => Err(disk_full()),
        _ => Ok(path == "/job"),
    };
    found.or_choose(|error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => Choice::known("no-file", Lasting::Permanent, "There is no such file."),
        _ => Choice::bug("can't look at a file"),
    })
}

/// The middle one. In the book, one of its two known cases is not of its error's type, so it is shown as a bug.
fn run(job: &str, path: &str) -> Result<(), FailureOf<Jobs>> {
    let missing = || {
        Choice::known("job-missing", Lasting::Permanent, format!("Job {job:?} can't run: it is not there."))
    };
    let is_executable = is_executable(path).or_choose::<Jobs>(|failure| match failure.kind() {
        Kind::Known("no-file") => missing(),
        _ => Choice::bug("can't run a job").with("job", job),
    })?;
    if is_executable {
        return Ok(());
    }
    Err(FailureOf::known("job-not-executable", Lasting::Permanent, "This job is not executable.")
        .with("job", job))
}

#[test]
fn pitfall_40_errors_as_the_book_has_them() {
    let failed = |path| run("1", path).through::<Cli>().unwrap_err();
    assert!(run("1", "/job").is_ok());
    let (missing, plain, foreign) = (failed("/bad/job/binary"), failed("/plain"), failed("/torn"));

    // The log ID is not always 1, and it is in the record.
    let ids = [missing.id(), plain.id(), foreign.id()];
    assert!(ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");
    // There is a time, which is that of the error, in the record too.
    for failure in [&missing, &plain, &foreign] {
        let start = format!("{} {}", failure.id(), text::rfc3339(failure.born_at()));
        assert!(failure.born_at().as_nanos() > 0 && failure.record().starts_with(&start), "{failure:?}");
    }
    // Known cases don't escape as bugs, however many modules they pass; what is foreign does not pass for known.
    assert_eq!(missing.kind(), Kind::Known("job-missing"));
    assert_eq!(plain.kind(), Kind::Known("job-not-executable"));
    assert_eq!(foreign.kind(), Kind::Bug);
    assert!(foreign.friendly().starts_with("There was an unexpected issue"));
    // There is context; in the book the map stays empty.
    assert_eq!(foreign.context(), [("job", "1".to_owned())]);
    // The chain is whole from the door to what the operating system said.
    assert_eq!(foreign.source().unwrap().downcast_ref::<io::Error>().unwrap().to_string(), "disk\nfull");
    assert!(foreign.record().contains("because disk\\nfull"));
    // Each boundary has its place; the stack of the origin is taken once if it is asked for, not again in each module.
    let modules: Vec<_> = foreign.places().map(|place| place.module).collect();
    assert_eq!(modules, ["files", "jobs", "cli"]);
    let taken = torn().backtraced();
    let stack = taken.backtrace().unwrap().to_string();
    let wrapped = FailureOf::<Jobs>::bug("again").because(Foreign(taken.into())).backtraced();
    assert_eq!(wrapped.backtrace().unwrap().to_string(), stack);
    assert!(wrapped.facts.backtrace.is_none());
}
