//! What a user sees, and what the log.

use super::*;

#[test]
fn a_bug_shows_nothing_of_its_inside_and_the_record_shows_all() {
    let failure = torn().noted("secret details");
    assert_eq!(
        failure.friendly(),
        format!(
            "There was an unexpected issue, and trying again may not help. Please report it. (log ID {})",
            failure.id()
        )
    );
    let record = failure.record();
    for part in ["[bug] secret details", "path: a\\nforged line", "because disk", &failure.id().to_string()] {
        assert!(record.contains(part), "{part} in {record}");
    }
}

#[test]
fn the_friendly_line_says_whether_and_when_to_try_again() {
    for (lasting, advice) in [
        (Lasting::Permanent, "Trying again will not help."),
        (Lasting::Transitory, "Please try again later."),
        (Lasting::For(Duration::from_secs(3)), "Please try again in 3 s."),
        // Not early.
        (Lasting::For(Duration::from_nanos(1)), "Please try again in 1 s."),
        (Lasting::For(Duration::MAX), "Please try again in 18446744073709551615 s."),
    ] {
        let failure = FailureOf::<Files>::known("gone", lasting, "no such thing");
        let id = failure.id();
        assert_eq!(failure.friendly(), format!("no such thing. {advice} (log ID {id})"));
    }
}

#[test]
fn a_known_case_shows_its_line_and_not_what_was_noted() {
    let failure = FailureOf::<Files>::known("gone", Lasting::Permanent, "It is gone!")
        .noted("row 7 of hunter2")
        .with("token", "hunter2")
        .because(io::Error::other("hunter2"));
    assert!(failure.friendly().starts_with("It is gone! Trying"), "{}", failure.friendly());
    assert!(!failure.friendly().contains("hunter2"));
    assert_eq!(failure.record().matches("hunter2").count(), 3);
    assert_eq!(failure.to_string(), "row 7 of hunter2");
}

#[test]
fn nothing_forges_a_line_or_steers_a_terminal() {
    let forged = "a\nb\r\u{1b}[2J\u{85}\u{2028}\u{202e}\u{200b}\u{61c}\u{2060}\u{e0041}";
    let failure = FailureOf::<Files>::known("gone", Lasting::Permanent, forged)
        .with("path", forged)
        .because(io::Error::other(forged));
    let plain = failure.record().lines().count();
    for text in [failure.friendly(), failure.record(), failure.terminal(true).to_string()] {
        let harmless = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic();
        assert!(text.chars().all(harmless), "{text:?}");
    }
    // ID, fingerprint, context, place, cause.
    assert_eq!((failure.friendly().lines().count(), plain), (1, 5));
}

#[test]
fn a_terminal_shows_the_line_or_everything() {
    let failure = torn().backtraced().through::<Cli>();
    assert_eq!(failure.terminal(false).to_string(), failure.friendly());
    let all = failure.terminal(true).to_string();
    assert!(all.starts_with(&format!("{}\n{}", failure.friendly(), failure.record())));
    assert!(all.contains("a_terminal_shows_the_line_or_everything"), "the stack is there: {all}");
    assert!(torn().backtrace().is_none(), "nobody has asked for one");
}

#[test]
fn an_instant_reads_as_rfc_3339() {
    assert_eq!(text::rfc3339(Utc::from_nanos(1_500_000_000)), "1970-01-01T00:00:01.5Z");
}
