//! Text from elsewhere, made harmless.

use std::fmt::{self, Display, Write};

use sluicegate_core::clock::Utc;

/// Escapes what could forge a line of a log, or steer a terminal or the eye of whoever reads it: control characters,
/// other ends of lines, marks that change the direction of writing or can't be seen.
pub(super) fn one_line(text: &str) -> impl Display {
    fmt::from_fn(move |f| {
        for c in text.chars() {
            if is_harmful(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    })
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `key=value` after `key=value`. A value that could pass for several is in quotes.
#[cfg(feature = "tracing")]
pub(super) fn pairs(pairs: &[(&'static str, String)]) -> impl Display {
    fmt::from_fn(move |f| {
        for (at, (key, value)) in pairs.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            let is_plain =
                |c: char| !c.is_whitespace() && c != '"' && c != '=' && c != '\\' && !is_harmful(c);
            if !value.is_empty() && value.chars().all(is_plain) {
                write!(f, "{space}{key}={value}")?;
            } else {
                write!(f, "{space}{key}={value:?}")?;
            }
        }
        Ok(())
    })
}

/// The instant in the form of RFC 3339, UTC.
pub(super) fn rfc3339(instant: Utc) -> String {
    // Nanoseconds in a u64 end in the year 2554, well within what a timestamp holds.
    jiff::Timestamp::from_nanosecond(i128::from(instant.as_nanos()))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}
