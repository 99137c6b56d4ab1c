//! Structured records.

use std::sync::{Arc, Mutex};

use tracing::Level;

use super::*;

/// What is logged, a line a record.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(failure: &Failure, level: Level, listening: Level) -> String {
    let lines = Lines::default();
    let written = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .without_time()
        .with_max_level(listening)
        .with_writer(move || written.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || failure.log(level));
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_record_has_a_field_for_each_fact() {
    let failure =
        torn().through::<Jobs>().with("job", "x path=/etc").with("words", "two words").with("empty", "");
    let failure = failure.retold::<Cli>(Choice::known("failed", Lasting::Transitory, "It failed."));
    for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
        let line = logged(&failure, level, Level::TRACE);
        let at = failure.origin().location;
        for field in [
            format!(r#""level":"{level}""#),
            r#""target":"sluicegate::failure""#.to_owned(),
            r#""message":"It failed.""#.to_owned(),
            format!(r#""id":"{}""#, failure.id()),
            r#""code":"failed""#.to_owned(),
            r#""lasting":"Transitory""#.to_owned(),
            format!(r#""born":"{}""#, text::rfc3339(failure.born_at())),
            format!(r#""origin":"files {at}""#),
            r#""way":"jobs "#.to_owned(),
            // No value can pass for a key.
            r#""context":"path=\"a\\nforged line\" job=\"x path=/etc\" words=\"two words\" empty=\"\"""#
                .to_owned(),
            r#""was":"[bug] index 7 of 5 (jobs)""#.to_owned(),
            r#""causes":"disk\\nfull""#.to_owned(),
            format!(r#""fingerprint":"{}""#, failure.fingerprint()),
        ] {
            assert!(line.contains(&field), "{field} in {line}");
        }
        assert_eq!(line.lines().count(), 1);
    }
}

#[test]
fn what_there_is_none_of_is_left_out_and_what_nobody_hears_is_not_said() {
    let failure = FailureOf::<Files>::bug("torn");
    let line = logged(&failure, Level::INFO, Level::INFO);
    for absent in ["way", "context", "was", "causes", "backtrace", "host", "pid"] {
        assert!(!line.contains(&format!("\"{absent}\"")), "{absent} in {line}");
    }
    assert!(logged(&failure.backtraced(), Level::INFO, Level::INFO).contains("\"backtrace\":\""));
    assert_eq!(logged(&torn(), Level::DEBUG, Level::INFO), "");
}
