//! Module by module: what each file of a crate imports from the crate itself.
use crate::paths::Mention;
use crate::tree::File;

/// Where a path of a module leads.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Another crate.
    Elsewhere,
    /// The place in the table of the module that it leads to.
    Place(usize),
    /// The crate's root, which stands above every module.
    Root,
}

/// The modules that are in no table, and the imports of a higher module by a lower one.
pub(crate) fn violations(files: &[File], table: &[&str]) -> Vec<String> {
    let mut broken = Vec::new();
    let declared = files.iter().flat_map(|file| {
        file.found.modules.iter().map(|(path, _)| file.module.iter().chain(path).cloned().collect::<Vec<_>>())
    });
    for module in declared.filter(|module| place(module, table).is_none()) {
        broken.push(format!("module {} is in no table", module.join("::")));
    }
    let root = files.iter().find(|file| file.module.is_empty());
    for file in files {
        for mention in &file.found.paths {
            let module: Vec<String> = file.module.iter().chain(&mention.inside).cloned().collect();
            let Some(own) = place(&module, table) else {
                continue;
            };
            let target = match absolute(&module, &mention.path) {
                Some(path) => resolve(&path, root, table, 0),
                None => Target::Elsewhere,
            };
            let at = format!("{}:{}: {}", file.name, mention.line, mention.path.join("::"));
            match target {
                Target::Place(other) if other > own => {
                    broken.push(format!("{at}: {} stands below {}", table[own], table[other]));
                }
                Target::Root => broken.push(format!("{at}: {} stands below the crate's root", table[own])),
                _ => {}
            }
        }
    }
    broken
}

/// A module's place: that of itself or of the nearest module around it that has one.
fn place(module: &[String], table: &[&str]) -> Option<usize> {
    (1..=module.len()).rev().find_map(|len| {
        let name = module[..len].join("::");
        table.iter().position(|entry| *entry == name)
    })
}

/// A path from the crate's root; none if it leads out of the crate or is relative to what is in scope,
/// which some other path brought there.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().skip_while(|s| *s == "self").take_while(|s| *s == "super").count();
    let selves = path.iter().take_while(|s| *s == "self").count();
    let base = match path.first()?.as_str() {
        "crate" => return Some(path[1..].to_vec()),
        "super" | "self" => module[..module.len().checked_sub(supers)?].to_vec(),
        _ => return None,
    };
    Some(base.into_iter().chain(path[supers + selves..].iter().cloned()).collect())
}

/// Follows a path from the root, through what the root re-exports.
fn resolve(path: &[String], root: Option<&File>, table: &[&str], depth: usize) -> Target {
    if let Some(place) = place(path, table) {
        return Target::Place(place);
    }
    let imports =
        || root.into_iter().flat_map(|root| &root.found.paths).filter(|m| m.used && m.inside.is_empty());
    let Some(name) = path.first() else {
        return Target::Root;
    };
    let names = |mention: &&Mention| mention.alias.as_ref().or(mention.path.last()) == Some(name);
    let leads = |mention: &Mention| match mention.path[0].as_str() {
        "crate" | "self" => resolve(&mention.path[1..], root, table, depth + 1),
        _ if place(&mention.path, table).is_some() => resolve(&mention.path, root, table, depth + 1),
        _ => Target::Elsewhere,
    };
    if depth > 8 {
        return Target::Root;
    }
    match imports().find(names) {
        Some(mention) => leads(mention),
        // A glob of another crate can be what brings an unknown name.
        None => {
            let mut globs = imports().filter(|mention| mention.path.last().is_some_and(|last| last == "*"));
            if globs.any(|glob| leads(glob) == Target::Elsewhere) { Target::Elsewhere } else { Target::Root }
        }
    }
}

#[cfg(test)]
mod fixtures {
    use super::violations;
    use crate::paths;
    use crate::tree::File;

    const TABLE: &[&str] = &["clock", "quota", "bucket", "cell::word", "cell"];
    const ROOT: &str = "pub mod clock; pub mod quota; mod bucket; mod cell;
        pub use quota::Quota; pub use bucket::{Bucket, self as pail}; pub use std::time::Duration;
        pub struct Own; #[cfg(test)] mod unheard_of;";

    /// What is wrong with this module of the fixture's crate.
    fn check(module: &str, source: &str) -> Vec<String> {
        let file = |module: &str, source| File {
            module: module.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            name: format!("{module}.rs"),
            found: paths::find("fixture", source),
        };
        violations(&[file("", ROOT), file(module, source)], TABLE)
    }

    #[test]
    fn an_upward_import_is_seen_in_every_shape() {
        for source in [
            "use crate::bucket::Bucket;",
            "use super::bucket;",
            "use crate::{clock, bucket::Bucket};",
            "use crate::{clock::{self, Clock}, bucket::{self, A as B}};",
            "use {crate::clock, crate::bucket};",
            "pub(crate) use crate::bucket::*;",
            "fn f() -> crate::bucket::Bucket { todo!() }",
            "fn f() { crate::bucket::new::<u8>() }",
            "fn f() { assert!(crate::bucket::ok(), \"{}\", 1); }",
            "fn f() -> Vec<crate::bucket::Bucket> { vec![] }",
            "impl crate::bucket::Take for u8 {}",
            "mod inner { use super::super::bucket::Bucket; }",
            "mod inner { fn f(x: crate::bucket::Bucket) {} }",
            "macro_rules! m { () => { $crate::bucket::new() } }",
            "#[derive(crate::bucket::Derive)] struct S;",
            "use crate::Bucket;",
            "use crate::pail::Bucket;",
            "#[cfg(not(test))] use crate::bucket::Bucket;",
            "#[cfg(any(test, loom))] use crate::bucket::Bucket;",
            "#[cfg(test)] mod tests {} use crate::bucket::Bucket;",
            "struct S { #[cfg(test)] a: u8, b: crate::bucket::Bucket }",
            "#[cfg(test)] #[allow(unused)] use crate::clock; fn f() { crate::bucket::f() }",
        ] {
            let broken = check("quota", source);
            assert!(!broken.is_empty(), "{source}");
            let wanted = |violation: &String| violation.contains("quota stands below bucket");
            assert!(broken.iter().all(wanted), "{source}: {broken:?}");
        }
    }

    #[test]
    fn the_root_stands_above_every_module() {
        for source in [
            "use crate::Own;",
            "use super::*;",
            "use crate as root;\nuse crate::*;",
            "fn f(x: crate::Own) {}",
        ] {
            let broken = check("quota", source);
            assert_eq!(broken.len(), 1, "{source}: {broken:?}");
            assert!(broken[0].contains("below the crate's root"), "{source}: {broken:?}");
        }
    }

    #[test]
    fn what_is_no_import_is_let_be() {
        for source in [
            "use crate::quota::Quota; use super::clock::Clock; use self::inner::X; mod inner {}",
            "// use crate::cell::Cell;\n/* crate::cell::Cell */ /// [`crate::cell::Cell`]\nfn f() {}",
            "const A: &str = \"use crate::cell::Cell;\"; const B: &str = r#\"crate::cell::Cell\"#;",
            "#[cfg(test)] mod tests { use crate::cell::Cell; use super::*; }",
            "#[cfg(all(test, loom))] mod tests { use crate::cell::Cell; }",
            "#[cfg(test)] use crate::cell::Cell;",
            "#[cfg(test)] mod tests;",
            "mod tests { #![cfg(test)] use crate::cell::Cell; }",
            "struct S { #[cfg(test)] a: crate::cell::Cell, b: u8 }",
            "use std::cell::Cell; use other::bucket::cell; fn f<'cell>(x: &'cell u8) {}",
            "use crate::Quota; use crate::Duration; mod inner { use super::Thing; }",
        ] {
            assert_eq!(check("bucket", source), [""; 0], "{source}");
        }
    }

    #[test]
    fn a_submodule_can_have_a_place_of_its_own() {
        assert_eq!(check("cell::word", "use super::Cell;").len(), 1);
        assert_eq!(check("cell::other", "use super::Cell; use crate::cell::word::Word;"), [""; 0]);
    }

    #[test]
    fn a_module_in_no_table_is_seen() {
        assert_eq!(check("quota", "mod text;"), [""; 0], "a submodule stands where its parent does");
        let broken = violations(
            &[File {
                module: vec![],
                name: "lib.rs".to_owned(),
                found: paths::find("fixture", "mod clock; mod new;"),
            }],
            TABLE,
        );
        assert_eq!(broken, ["module new is in no table"]);
    }

    #[test]
    fn a_violation_names_its_line() {
        assert_eq!(
            check("clock", "\n\nuse crate::{\n    bucket::Bucket,\n};"),
            ["clock.rs:3: crate::bucket::Bucket: clock stands below bucket"]
        );
    }
}
