//! Every input in the archives of fuzz/corpus runs through its fuzz target again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use sse_broadcaster::fuzzing::TARGETS;

#[test]
fn no_input_of_the_fuzz_corpus_causes_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fuzz-corpus");
    let unpacked = Command::new(script)
        .arg("unpack")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(folder.path().join(name)).unwrap() {
            let path = entry.unwrap().path();
            // Printed if it panics.
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "no inputs for {name}");
    }
}
