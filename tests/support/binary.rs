//! The binary as Cargo built it, and the policies of the repository as it builds them. For tests and benchmarks alike.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

/// The repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_proviso");

/// A policy of the repository, built by the binary.
#[must_use]
pub fn policy(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.wasm");
    let built = Command::new(BINARY)
        .args(["policy", "build"])
        .arg(repository().join("policies").join(name))
        .arg("-o")
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .expect("the binary runs");
    assert!(built.success(), "policy {name} does not build");
    std::fs::read(file).unwrap()
}

/// The standard policy.
pub static STANDARD: LazyLock<Vec<u8>> = LazyLock::new(|| policy("standard"));
