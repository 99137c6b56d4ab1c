//! The file's tree, read key by key. Each value that is read leaves its place, so that what is found wrong with it later is
//! shown there too; keys that nobody read are unknown. serde would stop at the first mistake.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Range;

use sluicegate::quota::QuotaError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limit::LimitError;
use super::mistake::{Mistake, Mistakes, shown};
use super::pattern::PatternError;

/// Where settings stand in the file, by their paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    places: HashMap<String, Vec<Range<usize>>>,
    /// Names that the file gives, after their kinds.
    names: Vec<(&'static str, String)>,
}

impl Places {
    pub(super) fn add(&mut self, path: impl Into<String>, place: Range<usize>) {
        self.places.entry(path.into()).or_default().push(place);
    }

    /// The place of a setting: where there are several, the last, which is the one too many. Of one that the file leaves
    /// out, the place of what it is a part of.
    pub(super) fn find(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path).and_then(|places| places.last()) {
                return place.clone();
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return 0..0,
            }
        }
    }

    /// Where a setting stands for the first time.
    pub(super) fn first(&self, path: &str) -> Option<Range<usize>> {
        self.places.get(path)?.first().cloned()
    }

    pub(super) fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.names.iter().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }
}

/// What is wrong with a value.
pub(super) struct Wrong {
    /// Which part of it, if that is told.
    detail: Option<String>,
    expected: String,
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        let expected = text.strip_prefix("expected ").map_or(text.clone(), str::to_owned);
        Self { detail: None, expected }
    }
}

impl From<LimitError> for Wrong {
    fn from(error: LimitError) -> Self {
        error.expected.into()
    }
}

impl From<PatternError> for Wrong {
    fn from(error: PatternError) -> Self {
        error.expected.to_owned().into()
    }
}

impl From<QuotaError> for Wrong {
    fn from(error: QuotaError) -> Self {
        let detail = (error.field() != "quota").then(|| format!("{} `{}`", error.field(), error.value()));
        Self { detail, expected: error.expected().to_owned() }
    }
}

/// How many tables of a kind are read, and how many values of a list: one more than [`Settings`](super::Settings) may have
/// of anything, so that they say what is too much, and a file made to be slow is not.
const MAX_READ: usize = 1025;

/// A table of the file, and the keys that were asked for.
pub(super) struct Section<'t> {
    path: String,
    /// Where it is named.
    pub(super) place: Range<usize>,
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(path: impl Into<String>, place: Range<usize>, table: &'t DeTable<'t>) -> Self {
        Self { path: path.into(), place, table, known: Vec::new() }
    }

    /// The path of a key.
    pub(super) fn at(&self, key: impl Display) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A string, if it is one; for what has to be known before the rest can be read.
    pub(super) fn peek(&self, key: &str) -> Option<&'t str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// Whether a key has a list, with nothing in it.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.table.get(key).and_then(|node| node.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    /// The same table under another path.
    pub(super) fn renamed(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }
}

/// A reading of the file: what was found where, and what is wrong.
pub(super) struct Reading<'t> {
    text: &'t str,
    pub(super) places: Places,
    pub(super) mistakes: Mistakes,
}

impl<'t> Reading<'t> {
    pub(super) fn new(text: &'t str, mistakes: Mistakes) -> Self {
        Self { text, places: Places::default(), mistakes }
    }

    pub(super) fn wrong(
        &mut self,
        place: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.mistakes.add(Mistake::new(place, message, expected));
    }

    /// The value of a key, whatever it is.
    pub(super) fn node(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<&'t Spanned<DeValue<'t>>> {
        section.known.push(key);
        let node = section.table.get(key)?;
        self.places.add(section.at(key), node.span());
        Some(node)
    }

    /// Text that means something.
    pub(super) fn text<T, E: Into<Wrong>>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.node(section, key)?;
        self.parsed(&section.at(key), node, parse)
    }

    /// The same of a value.
    pub(super) fn parsed<T, E: Into<Wrong>>(
        &mut self,
        path: &str,
        node: &'t Spanned<DeValue<'t>>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(text) = node.get_ref().as_str() else {
            // Its text may be right but for the quotes.
            let raw = self.text.get(node.span()).unwrap_or_default();
            let several = matches!(node.get_ref(), DeValue::Array(_) | DeValue::Table(_));
            let expected = match parse(raw).map_err(Into::into) {
                Ok(_) if several => "a string".to_owned(),
                Ok(_) => format!("a string, in quotes: `\"{}\"`", shown(raw)),
                Err(wrong) => format!("a string: {}", wrong.expected),
            };
            self.wrong_kind(path, node, &expected);
            return None;
        };
        match parse(text).map_err(Into::into) {
            Ok(value) => Some(value),
            Err(Wrong { detail, expected }) => {
                let detail = detail.map_or(String::new(), |detail| format!(": {}", shown(&detail)));
                let message = format!("`{}` can't be `{}`{detail}", shown(path), shown(text));
                self.wrong(node.span(), message, expected);
                None
            }
        }
    }

    /// Text, whatever it says.
    pub(super) fn plain(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<&'t str> {
        let node = self.node(section, key)?;
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.wrong_kind(&section.at(key), node, "a string, in quotes");
        }
        text
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<bool> {
        let node = self.node(section, key)?;
        let value = node.get_ref().as_bool();
        if value.is_none() {
            self.wrong_kind(&section.at(key), node, "`true` or `false`, without quotes");
        }
        value
    }

    /// A whole number.
    pub(super) fn number(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<usize> {
        let node = self.node(section, key)?;
        let path = section.at(key);
        let Some(number) = node.get_ref().as_integer() else {
            self.wrong_kind(&path, node, "a whole number, without quotes");
            return None;
        };
        let value = usize::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_none() {
            self.out_of_range(section, key, number.as_str(), "a whole number, 0 or more, and not this large");
        }
        value
    }

    /// Notes a number that is none of those that mean something.
    pub(super) fn out_of_range(&mut self, section: &Section<'t>, key: &str, number: &str, expected: &str) {
        let path = section.at(key);
        self.wrong(
            self.places.find(&path),
            format!("`{}` can't be `{}`", shown(&path), shown(number)),
            expected,
        );
    }

    /// Texts that mean something; each leaves its place as `KEY.0`, `KEY.1`. Those that are wrong are left out.
    pub(super) fn list<T, E: Into<Wrong>>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(T, Range<usize>)> {
        let Some(node) = self.node(section, key) else { return Vec::new() };
        let Some(array) = node.get_ref().as_array() else {
            self.wrong_kind(&section.at(key), node, &format!("a list of strings, in brackets: {expected}"));
            return Vec::new();
        };
        let path = section.at(key);
        let each = array.iter().enumerate().take(MAX_READ);
        each.filter_map(|(at, node)| Some((self.parsed(&format!("{path}.{at}"), node, &parse)?, node.span())))
            .collect()
    }

    /// The tables of a list: `[[KEY]]`.
    pub(super) fn tables(&mut self, section: &mut Section<'t>, key: &'static str) -> Vec<Section<'t>> {
        let Some(node) = self.node(section, key) else { return Vec::new() };
        let path = section.at(key);
        let expected = format!("tables of a list, each begun with `[[{key}]]`");
        let Some(array) = node.get_ref().as_array() else {
            self.wrong_kind(&path, node, &expected);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (at, node) in array.iter().enumerate().take(MAX_READ) {
            match node.get_ref().as_table() {
                Some(table) => sections.push(Section::new(format!("{path}.{at}"), node.span(), table)),
                None => self.wrong_kind(&format!("{path}.{at}"), node, &expected),
            }
        }
        sections
    }

    /// Tables with names, `[KEY.NAME]`, in the order of the file.
    pub(super) fn named(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Vec<(&'t str, Section<'t>)> {
        let Some(node) = self.node(section, key) else { return Vec::new() };
        let expected = format!("a table with a name, begun with `[{key}.NAME]`");
        let Some(table) = node.get_ref().as_table() else {
            self.wrong_kind(&section.at(key), node, &expected);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (name, node) in table.iter().take(MAX_READ) {
            let path = format!("{key}.{}", name.get_ref());
            match node.get_ref().as_table() {
                Some(table) => {
                    self.places.add(&path, name.span());
                    self.places.names.push((key, name.get_ref().to_string()));
                    sections.push((name.get_ref().as_ref(), Section::new(path, name.span(), table)));
                }
                None => self.wrong_kind(&path, node, &expected),
            }
        }
        sections.sort_by_key(|(_, section)| section.place.start);
        sections
    }

    /// Notes a key that has to be there.
    pub(super) fn require(&mut self, section: &Section<'t>, key: &str, expected: &str) {
        if !section.has(key) {
            self.wrong(section.place.clone(), format!("`{}` has no `{key}`", shown(&section.path)), expected);
        }
    }

    /// A value of the wrong kind.
    pub(super) fn wrong_kind(&mut self, path: &str, node: &Spanned<DeValue<'t>>, expected: &str) {
        let kind = match node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(node.span(), format!("`{}` can't be {kind}", shown(path)), expected);
    }

    /// After all keys have been read: notes those that nobody knows.
    pub(super) fn close(&mut self, section: &Section<'t>) {
        for (key, _) in section.table {
            let name = key.get_ref();
            if section.known.iter().any(|known| known == name) {
                continue;
            }
            let inside = if section.path.is_empty() {
                String::new()
            } else {
                format!(" in `{}`", shown(&section.path))
            };
            let message = format!("unknown key `{}`{inside}", shown(name));
            let expected = format!("one of {}", section.known.join(", "));
            let mistake = Mistake::new(key.span(), message, expected);
            self.mistakes.add(mistake.nearest(name, section.known.iter().copied()));
        }
    }
}
