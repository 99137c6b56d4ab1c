//! Crate by crate: what each `Cargo.toml` names.
use crate::tables::{CRATES, TESTKIT};
use std::path::Path;
use toml::{Table, Value};

/// A folder's manifest.
pub(crate) fn read(folder: &Path) -> Table {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `manifest` of the crate `name` imports and may not.
pub(crate) fn violations(name: &str, manifest: &Table, workspace: &Table) -> Vec<String> {
    let Some(place) = CRATES.iter().find(|c| c.name == name) else {
        return vec![format!("crate {name} is in no table")];
    };
    let mut broken = Vec::new();
    for (section, dependencies) in sections(manifest) {
        for (key, value) in dependencies {
            let import = package(key, value, workspace);
            let known = CRATES.iter().any(|c| c.name == import);
            let allowed = place.imports.contains(&import.as_str())
                || (section == "dev-dependencies" && import == TESTKIT);
            if known && !allowed {
                broken.push(format!("crate {name} imports {import} ({section})"));
            }
        }
    }
    broken
}

/// Every table of dependencies, those for one target included.
fn sections(manifest: &Table) -> Vec<(&'static str, &Table)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter();
    let tables = targets.flat_map(Table::values).filter_map(Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let found = tables.flat_map(|table| kinds.map(|kind| (kind, table.get(kind).and_then(Value::as_table))));
    found.filter_map(|(kind, table)| Some((kind, table?))).collect()
}

/// The package behind a dependency's key: the two differ where it was renamed.
fn package(key: &str, value: &Value, workspace: &Table) -> String {
    let renamed = |value: &Value| value.get("package").and_then(Value::as_str).map(str::to_owned);
    let inherited = || workspace.get("workspace")?.get("dependencies")?.get(key).and_then(renamed);
    renamed(value).or_else(inherited).unwrap_or_else(|| key.to_owned())
}

fn check(name: &str, manifest: &str) -> Vec<String> {
    let workspace = "[workspace.dependencies]\nlow = { package = \"sluicegate\", version = \"1\" }";
    violations(name, &manifest.parse().unwrap(), &workspace.parse().unwrap())
}

#[test]
fn an_upward_import_is_seen_in_every_section() {
    for section in
        ["dependencies", "build-dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"]
    {
        for dependency in [
            "sluicegate.workspace = true",
            "low.workspace = true",
            "renamed = { package = \"sluicegate\", path = \"../sluicegate\" }",
        ] {
            let broken = check("sluicegate-core", &format!("[{section}]\n{dependency}"));
            assert_eq!(broken.len(), 1, "[{section}] {dependency}: {broken:?}");
            assert!(broken[0].starts_with("crate sluicegate-core imports sluicegate "), "{broken:?}");
        }
    }
}

#[test]
fn the_testkit_is_only_for_tests() {
    let testkit = "sluicegate-testkit.workspace = true";
    assert_eq!(check("sluicegate", &format!("[dependencies]\n{testkit}")).len(), 1);
    assert!(check("sluicegate", &format!("[dev-dependencies]\n{testkit}")).is_empty());
    assert!(check("bench", &format!("[dependencies]\n{testkit}")).is_empty());
}

#[test]
fn a_downward_import_is_allowed() {
    let manifest = "[dependencies]\nsluicegate-core.workspace = true\ntokio = \"1\"";
    assert!(check("sluicegate", manifest).is_empty());
    assert_eq!(check("unheard-of", manifest), ["crate unheard-of is in no table"]);
}
