//! Reads a source file as the compiler's tokens, and lists the paths, macros and words in it. Comments and
//! strings are no tokens, and what is compiled for tests alone is left out.
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What was found in a module, each with its line.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths of two segments or more, such as `crate::quota::Quota`; those in braces are spelled out, and a
    /// glob is a last segment `*`. Each with the inline modules around it and whether a `use` introduces it.
    pub(crate) paths: Vec<Mention>,
    /// Names with a `!` behind them.
    pub(crate) macros: Vec<(String, usize)>,
    /// Every other word, keywords included. A lifetime is none.
    pub(crate) words: Vec<(String, usize)>,
    /// Modules declared here, by the inline modules around them and their own name; true if the body is elsewhere.
    pub(crate) modules: Vec<(Vec<String>, bool)>,
}

/// A path in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Its segments.
    pub(crate) path: Vec<String>,
    /// The name after `as`.
    pub(crate) alias: Option<String>,
    /// The inline modules around it.
    pub(crate) inside: Vec<String>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in a `use`.
    pub(crate) used: bool,
}

/// Reads the source of the file `name`. Panics if it is not Rust.
pub(crate) fn find(name: &str, source: &str) -> Found {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut found = Found::default();
    walk(tokens, &[], &mut found);
    found
}

/// Words that begin an item, which ends with `;` or a block.
const ITEMS: &[&str] = &[
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "union",
    "unsafe",
    "use",
];

fn walk(tokens: TokenStream, inside: &[String], found: &mut Found) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut used = false;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let bang = usize::from(is_punct(next, '!'));
                let Some(TokenTree::Group(attribute)) = tokens.get(at + 1 + bang) else {
                    at += 1;
                    continue;
                };
                at += 2 + bang;
                if is_for_tests(attribute) {
                    // An inner attribute is the rest's own.
                    at = if bang == 1 { tokens.len() } else { skip(&tokens, at) };
                } else {
                    walk(attribute.stream(), inside, found);
                }
                continue;
            }
            // A lifetime is a quote and a word.
            TokenTree::Punct(punct) if punct.as_char() == '\'' => at += 1,
            TokenTree::Punct(punct) if punct.as_char() == ';' => used = false,
            TokenTree::Group(group) => walk(group.stream(), inside, found),
            TokenTree::Ident(ident) => {
                let (word, line) = (ident.to_string(), ident.span().start().line);
                if word == "mod" && matches!(next, Some(TokenTree::Ident(_))) {
                    let name = next.map(ToString::to_string).unwrap_or_default();
                    let path: Vec<String> = inside.iter().cloned().chain([name]).collect();
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        walk(body.stream(), &path, found);
                        found.modules.push((path, false));
                    } else {
                        found.modules.push((path, true));
                    }
                    at += 3;
                    continue;
                }
                used |= word == "use";
                if is_colons(&tokens, at + 1) {
                    at = path(
                        &tokens,
                        at,
                        Mention { path: vec![], alias: None, inside: inside.to_vec(), line, used },
                        found,
                    );
                    continue;
                }
                if is_punct(next, '!') && !is_punct(tokens.get(at + 2), '=') {
                    found.macros.push((word, line));
                } else {
                    found.words.push((word, line));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Reads the path whose first segment is at `at`, behind the segments that `mention` has already; returns
/// where it ends. A group in braces after `::` is the inside of a `use`.
fn path(tokens: &[TokenTree], mut at: usize, mut mention: Mention, found: &mut Found) -> usize {
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => mention.path.push(ident.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => mention.path.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for entry in inner.split(|token| is_punct(Some(token), ',')).filter(|entry| !entry.is_empty())
                {
                    path(entry, 0, mention.clone(), found);
                }
                return at + 1;
            }
            // Such as the `<` of a turbofish.
            _ => break,
        }
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    if matches!(tokens.get(at), Some(TokenTree::Ident(word)) if word == "as") {
        mention.alias = tokens.get(at + 1).filter(|_| mention.used).map(ToString::to_string);
    }
    if is_punct(tokens.get(at), '!') && !is_punct(tokens.get(at + 1), '=') {
        found.macros.push((mention.path.last().cloned().unwrap_or_default(), mention.line));
    }
    // `a::{self}` is `a`.
    if mention.path.len() > 1 && mention.path.last().is_some_and(|last| last == "self") {
        mention.path.pop();
    }
    found.paths.push(mention);
    at
}

/// Where the item, field or statement at `at` ends: what follows an attribute that keeps it for tests.
fn skip(tokens: &[TokenTree], mut at: usize) -> usize {
    while is_punct(tokens.get(at), '#') {
        at += 2;
    }
    let item =
        matches!(tokens.get(at), Some(TokenTree::Ident(word)) if ITEMS.iter().any(|item| word == item));
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            TokenTree::Punct(punct) if punct.as_char() == ';' || (!item && punct.as_char() == ',') => break,
            _ => {}
        }
    }
    at
}

/// Whether an attribute is `cfg` of something that is so in tests alone.
fn is_for_tests(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    let cfg = matches!(tokens.next(), Some(TokenTree::Ident(word)) if word == "cfg");
    cfg && matches!(tokens.next(), Some(TokenTree::Group(condition)) if needs_test(condition.stream()))
}

/// `test`, or `all` of several of which one is; `any(test, …)` and `not(test)` are compiled elsewhere too.
fn needs_test(condition: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match (token, tokens.get(at + 1)) {
        (TokenTree::Ident(word), Some(TokenTree::Group(group))) => {
            word == "all" && needs_test(group.stream())
        }
        (TokenTree::Ident(word), _) => word == "test",
        _ => false,
    })
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == c)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}
