//! Holds the floors: nothing imports upward, crate by crate ([`manifests`]) and module by module
//! ([`modules`]), and a crate keeps away from what its floor forbids ([`forbidden`]). What stands where is
//! stated once, in [`tables`]. Each check is shown to fail on a fixture that breaks its rule.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a failure here is a test's failure"
)]

mod forbidden;
mod manifests;
mod modules;
mod paths;
mod tables;
mod tree;

use std::path::{Path, PathBuf};
use tables::CRATES;

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the testkit is two folders down")
}

/// Every crate of the workspace, as (folder, name).
fn crates() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let top = ["bench", "fuzz"].map(|name| root().join(name));
    let crates = std::fs::read_dir(root().join("crates")).expect("the workspace has crates");
    for folder in crates.map(|entry| entry.unwrap().path()).chain(top) {
        if folder.join("Cargo.toml").is_file() {
            let name = manifests::read(&folder)["package"]["name"].as_str().unwrap().to_owned();
            found.push((folder, name));
        }
    }
    found.sort();
    found
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "the floors do not hold:\n  {}", broken.join("\n  "));
}

#[test]
fn every_crate_has_its_place() {
    let nowhere = crates().into_iter().filter(|(_, name)| !CRATES.iter().any(|c| c.name == name));
    assert_none(&nowhere.map(|(_, name)| format!("crate {name} is in no table")).collect::<Vec<_>>());
}

#[test]
fn no_crate_imports_upward() {
    let workspace = manifests::read(&root());
    let broken = crates()
        .into_iter()
        .flat_map(|(folder, name)| manifests::violations(&name, &manifests::read(&folder), &workspace));
    assert_none(&broken.collect::<Vec<_>>());
}

#[test]
fn no_module_imports_upward() {
    let mut broken = Vec::new();
    for (folder, name) in crates() {
        let Some(table) = CRATES.iter().find(|c| c.name == name).and_then(|c| c.modules) else {
            continue;
        };
        for mut violation in modules::violations(&tree::load(&folder), table) {
            violation.insert_str(0, &format!("{name}: "));
            broken.push(violation);
        }
    }
    assert_none(&broken);
}

#[test]
fn no_crate_does_what_its_floor_forbids() {
    let mut broken = Vec::new();
    for (folder, name) in crates() {
        let Some(place) = CRATES.iter().find(|c| c.name == name) else {
            continue;
        };
        for mut violation in forbidden::violations(&tree::load(&folder), place.forbidden, place.except) {
            violation.insert_str(0, &format!("{name}: "));
            broken.push(violation);
        }
    }
    assert_none(&broken);
}
