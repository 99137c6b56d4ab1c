//! A crate's modules, found as the compiler finds them: from the root along the `mod` declarations.
use crate::paths::{self, Found};
use std::fs;
use std::path::Path;

/// One file of a crate.
#[derive(Debug)]
pub(crate) struct File {
    /// The module it is, from the crate's root; empty for the root itself.
    pub(crate) module: Vec<String>,
    /// Its path below `src`.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) found: Found,
}

/// All files that a crate's library and binary consist of, without what is for tests alone.
pub(crate) fn load(folder: &Path) -> Vec<File> {
    let mut files = Vec::new();
    for root in ["lib.rs", "main.rs"] {
        if folder.join("src").join(root).is_file() {
            follow(&folder.join("src"), root, vec![], &mut files);
        }
    }
    assert!(!files.is_empty(), "{} has neither lib.rs nor main.rs", folder.display());
    files
}

fn follow(src: &Path, name: &str, module: Vec<String>, files: &mut Vec<File>) {
    let source = fs::read_to_string(src.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = paths::find(&src.join(name).display().to_string(), &source);
    for (path, _) in found.modules.iter().filter(|(_, elsewhere)| *elsewhere) {
        let module: Vec<String> = module.iter().chain(path).cloned().collect();
        let stem = module.join("/");
        let candidates = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
        let file = candidates.iter().find(|file| src.join(file).is_file());
        let file = file.unwrap_or_else(|| panic!("{name}: no file for the module {}", module.join("::")));
        follow(src, file, module, files);
    }
    files.push(File { module, name: name.to_owned(), found });
}
