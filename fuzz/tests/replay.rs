//! What the fuzzer found interesting, once more: every file of the corpus through the function it was found with. A file
//! that once broke a promise stays in there.

use std::fs;
use std::path::Path;

use sluicegate_fuzz::TARGETS;

#[test]
fn the_corpus_breaks_no_promise() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{}: {} files are no corpus", folder.display(), files.len());
        for file in files {
            let data = fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("the target {name} fails on {}", file.display());
            }
        }
    }
}

#[test]
fn every_target_has_its_binary_and_each_binary_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut binaries: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    binaries.sort();
    assert_eq!(binaries, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
