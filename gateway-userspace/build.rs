//! Embeds the kernel program, if it has been built.
//!
//! The object is looked for in `$PORTCULLIS_EBPF_OBJECT`, then in `target/ebpf/portcullis.bpf.o`, where
//! `cargo xtask build-ebpf` puts it. Without it a plain `cargo build` still works: the binary then has no
//! kernel stage and says so when one is asked for.

use std::{env, fs, path::PathBuf};

const OBJECT: &str = "PORTCULLIS_EBPF_OBJECT";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let embedded = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("portcullis.bpf.o");
    let object =
        env::var_os(OBJECT).map_or_else(|| manifest.join("../target/ebpf/portcullis.bpf.o"), PathBuf::from);

    println!("cargo:rerun-if-env-changed={OBJECT}");
    // Cargo compares the time stamp of this path, and a path that is missing always reruns the script:
    // that costs milliseconds, and the object is picked up as soon as it is there.
    println!("cargo:rerun-if-changed={}", object.display());

    let bytes = match fs::read(&object) {
        Ok(bytes) => bytes,
        // A path that was asked for by name has to be there.
        Err(error) if env::var_os(OBJECT).is_some() => {
            panic!("{OBJECT} names {}, which cannot be read: {error}", object.display())
        }
        Err(_) => Vec::new(),
    };
    // Unchanged content keeps its time stamp, so that a build without a change compiles nothing.
    if fs::read(&embedded).ok().as_deref() != Some(&bytes[..]) {
        fs::write(&embedded, bytes).expect("OUT_DIR is writable");
    }
}
