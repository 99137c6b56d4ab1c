//! What a crate's floor forbids, whatever it imports.
use crate::tree::File;

/// A thing that a crate must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Be asynchronous: a machine is driven.
    Async,
    /// Reach the outside: files, sockets, processes, threads.
    Io,
    /// Keep state that outlives its owner.
    Globals,
    /// Print.
    Printing,
    /// Read the environment.
    Environment,
}

impl Rule {
    /// Words, names of macros, and beginnings of paths that break it.
    fn forbids(self) -> (&'static [&'static str], &'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Async => (&["async", "await", "tokio"], &[], &["tokio", "std::future", "core::future"]),
            Self::Io => {
                (&[], &[], &["std::io", "std::net", "std::fs", "std::process", "std::thread", "std::os"])
            }
            Self::Globals => (&["static"], &["thread_local"], &[]),
            Self::Printing => (&[], &["print", "println", "eprint", "eprintln", "dbg"], &[]),
            Self::Environment => (&[], &["env", "option_env"], &["std::env"]),
        }
    }
}

/// Where these files do what `rules` forbid, but for what is `except`ed: beginnings of paths in a file.
pub(crate) fn violations(files: &[File], rules: &[Rule], except: &[(&str, &str)]) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, rule) in files.iter().flat_map(|file| rules.iter().map(move |rule| (file, rule))) {
        let (words, macros, prefixes) = rule.forbids();
        let mut say = |what: &str, line| broken.push(format!("{}:{line}: {what} ({rule:?})", file.name));
        for (word, line) in file.found.words.iter().filter(|(word, _)| words.contains(&word.as_str())) {
            say(word, *line);
        }
        for (name, line) in file.found.macros.iter().filter(|(name, _)| macros.contains(&name.as_str())) {
            say(&format!("{name}!"), *line);
        }
        for mention in &file.found.paths {
            let path = mention.path.join("::");
            let mut exceptions = except.iter().filter(|(name, _)| *name == file.name);
            let excepted = exceptions.any(|(_, prefix)| begins(&path, prefix));
            if !excepted && prefixes.iter().any(|prefix| begins(&path, prefix)) {
                say(&path, mention.line);
            }
        }
    }
    broken
}

/// Whether a path begins with the segments of another.
fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod fixtures {
    use super::{Rule, Rule::*, violations};
    use crate::paths;
    use crate::tree::File;

    fn check(source: &str, rule: Rule) -> Vec<String> {
        let file = File { module: vec![], name: "lib.rs".to_owned(), found: paths::find("lib.rs", source) };
        violations(&[file], &[rule], &[("lib.rs", "std::io::Result")])
    }

    #[test]
    fn each_rule_sees_what_breaks_it() {
        for (rule, source) in [
            (Async, "async fn f() {}"),
            (Async, "fn f() { let x = async { 1 }; }"),
            (Async, "use tokio::time;"),
            (Async, "impl std::future::Future for S {}"),
            (Io, "use std::io::Read;"),
            (Io, "use std::io::{Read, Result};"),
            (Io, "use std::{collections::HashMap, net};"),
            (Io, "fn f() { ::std::thread::spawn(|| ()); }"),
            (Globals, "static mut X: u8 = 0;"),
            (Globals, "static X: std::sync::OnceLock<u8> = std::sync::OnceLock::new();"),
            (Globals, "fn f() { static COUNT: u8 = 0; }"),
            (Globals, "thread_local! { }"),
            (Globals, "std::thread_local! { }"),
            (Printing, "fn f() { println!(\"x\") }"),
            (Printing, "fn f() { std::eprintln!(\"x\") }"),
            (Printing, "fn f() { let x = dbg!(1); }"),
            (Environment, "fn f() { std::env::var(\"X\"); }"),
            (Environment, "use std::{env, fmt};"),
            (Environment, "const X: &str = env!(\"X\");"),
        ] {
            assert_eq!(check(source, rule).len(), 1, "{rule:?}: {source}: {:?}", check(source, rule));
        }
    }

    #[test]
    fn what_only_looks_like_it_is_let_be() {
        for (rule, source) in [
            (Async, "fn f() { /* async */ let s = \"await\"; }"),
            (Io, "use core::fmt; use crate::io::Read; mod net {}"),
            (Io, "fn f() -> std::io::Result<u8> { Ok(0) }"),
            (Globals, "fn f(x: &'static str) {} const X: &'static [u8] = &[];"),
            (Globals, "#[cfg(test)] mod tests { static X: u8 = 0; }"),
            (Printing, "fn f(print: bool) -> bool { print != true } fn println() {}"),
            (Environment, "struct Env { env: u8 } fn f(e: Env) { e.env; }"),
        ] {
            assert_eq!(check(source, rule), [""; 0], "{rule:?}: {source}");
        }
    }
}
