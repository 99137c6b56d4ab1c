//! The configuration file.

use std::path::Path;

use sluicegate_server::config::{ConfigError, parse};

/// The name that the file is said to have.
const FILE: &str = "gateway.toml";

/// The text of a file.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match parse(Path::new(FILE), text) {
        Ok(config) => {
            let again = config.settings.clone().checked();
            assert_eq!(again.as_ref(), Ok(&config.settings), "what was read can't be served");
            let shown = config.warnings.render_as_warnings(false);
            assert!(shown.contains(FILE));
        }
        Err(error) => wrong(text, &error),
    }
}

/// Mistakes lie inside the file, and can be shown both ways.
fn wrong(text: &str, error: &ConfigError) {
    let ConfigError::Wrong(mistakes) = error else { panic!("a text is no file: {error}") };
    assert!(mistakes.count() > 0, "refused without a mistake");
    for mistake in mistakes.iter() {
        for place in [Some(&mistake.place), mistake.beside.as_ref()].into_iter().flatten() {
            assert!(place.start <= place.end && place.end <= text.len(), "{mistake:?} is outside");
        }
        assert!(!mistake.message.is_empty(), "{mistake:?} says nothing");
        assert!(!mistake.message.contains('\n') && !mistake.expected.contains('\n'), "{mistake:?}");
    }
    let lines = text.split('\n').count();
    for line in mistakes.lines() {
        let place = line.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
        let number = place.and_then(|rest| rest.split(':').next()).and_then(|number| number.parse().ok());
        assert!(number.is_some_and(|number| (1..=lines).contains(&number)), "{line:?} of {lines} lines");
    }
    assert!(mistakes.render(false).contains(FILE) && !mistakes.render(true).is_empty());
    assert!(!error.to_string().is_empty());
}
