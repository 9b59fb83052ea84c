//! Policy modules: the shipped ones as the binary builds them, and as many different ones as a case needs.

use crate::host::BINARY;
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

/// The standard policy.
pub static STANDARD: LazyLock<Vec<u8>> = LazyLock::new(|| shipped("standard"));

/// A policy of the repository.
pub fn shipped(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.wasm");
    let built = Command::new(BINARY)
        .args(["policy", "build"])
        .arg(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies")).join(name))
        .arg("-o")
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .expect("the binary runs");
    assert!(built.success(), "policy {name} does not build");
    std::fs::read(file).unwrap()
}

/// The same module with other bytes: a custom section with a text, which nothing reads.
pub fn distinct(module: &[u8], text: &str) -> Vec<u8> {
    const NAME: &[u8] = b"bench";
    let length = u8::try_from(1 + NAME.len() + text.len()).ok().filter(|length| *length < 0x80);
    let mut bytes = module.to_vec();
    bytes.extend([0, length.expect("a text that fits a length of one byte"), NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.extend(text.as_bytes());
    bytes
}
