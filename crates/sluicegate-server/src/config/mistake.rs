//! What is wrong in a file, shown in its place: for people with the line underlined, for logs in one line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use crate::flags::nearest;
use crate::stores::is_secret;

/// How many mistakes of a file are kept; more are counted.
pub(super) const MAX_KEPT: usize = 100;

/// How much of a file is shown for one mistake, in bytes.
const MAX_SOURCE: usize = 16 * 1024;

/// How much is said of what would be right, in characters: a list of names may be long.
const MAX_EXPECTED: usize = 1000;

/// How much of a value is repeated in a message, in characters.
const MAX_SHOWN: usize = 80;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, in bytes of the file.
    pub place: Range<usize>,
    /// What, as a sentence without its dot.
    pub message: String,
    /// What would be right, to be read after "expected".
    pub expected: String,
    /// What was probably meant.
    pub nearest: Option<String>,
    /// Another place that has to do with it.
    pub beside: Option<Range<usize>>,
}

impl Mistake {
    /// One at this place.
    #[must_use]
    pub fn new(place: Range<usize>, message: impl Into<String>, expected: impl Into<String>) -> Self {
        let mut expected = expected.into();
        if let Some((end, _)) = expected.char_indices().nth(MAX_EXPECTED) {
            expected.truncate(end);
            expected.push('…');
        }
        Self { place, message: message.into(), expected, nearest: None, beside: None }
    }

    /// The same, with which of these was probably meant instead of `given`.
    #[must_use]
    pub fn nearest<'a>(self, given: &str, known: impl Iterator<Item = &'a str>) -> Self {
        // What is there as it is given was meant; then something else is wrong with it.
        let near = nearest(given, known).filter(|name| *name != given);
        Self { nearest: near.map(str::to_owned), ..self }
    }
}

/// A part of the input in a message: on one line, and not too long.
pub(super) fn shown(text: &str) -> String {
    let letter = |letter: char| {
        if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() }
    };
    let mut shown: String = text.chars().take(MAX_SHOWN).map(letter).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// All that is wrong in a file, in the order of its lines. As text, one line with the first and how many there are.
///
/// ```
/// use std::path::Path;
/// use sluicegate_server::config::{parse, ConfigError};
///
/// let Err(ConfigError::Wrong(mistakes)) = parse(Path::new("gateway.toml"), "wrokers = 2") else { unreachable!() };
/// let line = mistakes.lines().next().unwrap();
/// assert!(line.starts_with("gateway.toml:1:1: unknown key `wrokers`; expected one of"), "{line}");
/// assert!(line.ends_with("; did you mean `workers`?"), "{line}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    file: PathBuf,
    text: Arc<str>,
    /// Where its lines begin.
    starts: Vec<usize>,
    kept: Vec<Mistake>,
    count: usize,
}

/// The same text, each byte in its place, with stars for what stands before the host of a URL, and for options that are called
/// like a secret: logs are read by many.
fn without_passwords(text: Arc<str>) -> Arc<str> {
    if !text.contains("://") {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + "://".len());
        let line = behind.split('\n').next().unwrap_or_default();
        let url = line.split(['"', '\'']).next().unwrap_or_default();
        let secret = url.rfind('@').unwrap_or(0);
        shown.push_str(before);
        shown.extend(std::iter::repeat_n('*', secret));
        let mut left = &url[secret..];
        while let Some((name, value)) = left.split_once('=') {
            let called = name.rsplit(['?', '&']).next().unwrap_or_default();
            let length = if is_secret(called) { value.find('&').unwrap_or(value.len()) } else { 0 };
            shown.push_str(&left[..=name.len()]);
            shown.extend(std::iter::repeat_n('*', length));
            left = &value[length..];
        }
        shown.push_str(left);
        rest = &behind[url.len()..];
    }
    shown.push_str(rest);
    shown.into()
}

impl Mistakes {
    pub(super) fn new(file: &Path, text: Arc<str>) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        let text = without_passwords(text);
        Self { file: file.to_owned(), text, starts, kept: Vec::new(), count: 0 }
    }

    /// Adds one, at its place in the order.
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.count += 1;
        if self.kept.len() < MAX_KEPT {
            let at = self.kept.partition_point(|other| other.place.start <= mistake.place.start);
            self.kept.insert(at, mistake);
        }
    }

    /// Counts more that nobody will look at.
    pub(super) fn leave_out(&mut self, count: usize) {
        self.count += count;
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The first hundred.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.kept.iter()
    }

    /// One line each, for logs: `FILE:LINE:COLUMN: what is wrong; expected what would be right`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.kept.iter().map(|mistake| self.line(mistake))
    }

    fn line(&self, mistake: &Mistake) -> String {
        let (line, column) = self.line_and_column(mistake.place.start);
        let Mistake { message, expected, .. } = mistake;
        let nearest = mistake.nearest.as_ref();
        let nearest = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        let expected = if expected.is_empty() { String::new() } else { format!("; expected {expected}") };
        format!("{}:{line}:{column}: {message}{expected}{nearest}", self.file.display())
    }

    /// For people: each with its line, underlined, and how many there are.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.rendered(&Level::ERROR, colour, "mistake")
    }

    /// The same, as what is worth a look but not wrong.
    #[must_use]
    pub fn render_as_warnings(&self, colour: bool) -> String {
        self.rendered(&Level::WARNING, colour, "warning")
    }

    fn rendered(&self, level: &Level<'static>, colour: bool, noun: &str) -> String {
        let renderer = if colour { Renderer::styled().hyperlink(false) } else { Renderer::plain() };
        let file = self.file.display().to_string();
        let each =
            self.kept.iter().map(|mistake| renderer.render(&[self.group(mistake, level, &file)]) + "\n\n");
        let mut text: String = each.collect();
        let some = if self.count > self.kept.len() {
            format!(", the first {} shown", self.kept.len())
        } else {
            String::new()
        };
        text.push_str(&format!("{file}: {}{some}", counted(self.count, noun)));
        text
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, level: &Level<'static>, file: &'a str) -> Group<'a> {
        let place = self.on_one_line(&mistake.place);
        let beside = mistake.beside.as_ref().map(|beside| self.on_one_line(beside));
        // Only the lines it is about are handed over: a file may be long, and its mistakes many.
        let first = beside.as_ref().map_or(place.start, |beside| beside.start.min(place.start));
        let last = beside.as_ref().map_or(place.end, |beside| beside.end.max(place.end));
        let (line, start) = self.line_of(first);
        let source = &self.text[start..self.line_end(last)];
        let inside = |range: Range<usize>| range.start - start..range.end - start;
        let mut snippet = Snippet::source(source).line_start(line).path(file);
        snippet = snippet.annotation(AnnotationKind::Primary.span(inside(place)));
        if let Some(beside) = beside {
            snippet =
                snippet.annotation(AnnotationKind::Context.span(inside(beside)).label("the other is here"));
        }
        // What nobody wrote by hand is too long to be shown.
        let shown = if source.len() <= MAX_SOURCE {
            Element::from(snippet)
        } else {
            let (line, column) = self.line_and_column(mistake.place.start);
            Origin::path(file).line(line).char_column(column).into()
        };
        let nearest = mistake.nearest.as_ref().map(|name| format!("did you mean `{name}`?"));
        let expected = (!mistake.expected.is_empty()).then(|| format!("expected {}", mistake.expected));
        let helps = nearest.into_iter().chain(expected).map(|help| Level::HELP.message(help));
        level.clone().primary_title(mistake.message.as_str()).element(shown).elements(helps)
    }

    /// The number of the line that a place is on, and where it begins.
    fn line_of(&self, place: usize) -> (usize, usize) {
        let number = self.starts.partition_point(|start| *start <= place);
        (number, self.starts[number.saturating_sub(1)])
    }

    fn line_and_column(&self, place: usize) -> (usize, usize) {
        let (line, start) = self.line_of(place);
        (line, self.text[start..self.on_letter(place)].chars().count() + 1)
    }

    fn line_end(&self, place: usize) -> usize {
        let (number, start) = self.line_of(place);
        let line = &self.text[start..self.starts.get(number).copied().unwrap_or(self.text.len())];
        start + line.trim_end_matches(['\r', '\n']).len()
    }

    /// As much of it as is on its first line.
    fn on_one_line(&self, place: &Range<usize>) -> Range<usize> {
        let end = self.line_end(place.start);
        // What is wrong may be where a line ends.
        let start = self.on_letter(place.start).min(end);
        start..self.on_letter(place.end).clamp(start, end)
    }

    fn on_letter(&self, place: usize) -> usize {
        self.text.floor_char_boundary(place)
    }
}

/// A number and what it counts: `1 mistake`, `2 mistakes`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().next().unwrap_or_default())?;
        match self.count {
            0 | 1 => Ok(()),
            count => write!(f, " (the first of {count} mistakes)"),
        }
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let shown = |text: &str| without_passwords(text.into()).to_string();
        let text = "store = 'redis://ann:s@cret@host/2'\nurl = \"http://b\" # c@d\n";
        assert_eq!(shown(text), "store = 'redis://**********@host/2'\nurl = \"http://b\" # c@d\n");
        assert_eq!(shown("a://é@b"), "a://**@b", "each byte in its place");
        assert_eq!(shown("a = 'no@url'"), "a = 'no@url'");
        let text = "a = 'redis://host?timeout=1s&password=s=cret&ca=x'\nb = 'http://a' # ?password=b";
        assert_eq!(shown(text), text.replace("s=cret", "******"));
    }
}
