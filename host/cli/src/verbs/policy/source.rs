//! Where a policy comes from: the folder of its crate, which is built, or a file.

use crate::{error::Error, terminal};
use std::{fs, path::Path};

/// How every WebAssembly module begins.
const MAGIC: &[u8] = b"\0asm";

/// The component of a crate's folder or of a file.
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    if path.is_dir() {
        return build(path);
    }
    let bytes = fs::read(path).map_err(Error::file(path))?;
    if bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    let detail = format!(
        "is no WebAssembly module: {}; a policy is the folder of its crate, or a file that `proviso policy build` made of it",
        what_it_is(path, &bytes)
    );
    Err(Error::Content { path: path.to_owned(), detail })
}

/// Builds the crate in a folder, and says so, since the first time takes a while.
pub fn build(folder: &Path) -> Result<Vec<u8>, Error> {
    check(folder)?;
    terminal::note(&format!("building {}", folder.display()));
    Ok(proviso_policy::build::build(folder)?)
}

/// The same module but for its panics, whose text it leaves in the log.
pub fn build_logging_panics(folder: &Path) -> Result<Vec<u8>, Error> {
    check(folder)?;
    Ok(proviso_policy::build::build_logging_panics(folder)?)
}

fn check(folder: &Path) -> Result<(), Error> {
    if folder.join("Cargo.toml").is_file() {
        return Ok(());
    }
    let detail =
        "no policy crate: there is no Cargo.toml in it; `proviso policy new` makes one in a new folder"
            .to_owned();
    Err(Error::Content { path: folder.to_owned(), detail })
}

/// What a file seems to be instead of a module.
fn what_it_is(path: &Path, bytes: &[u8]) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    match (extension, text) {
        (_, Some("")) => "it is empty",
        ("rs", Some(_)) => "it is Rust (name the folder of its crate)",
        ("toml", Some(_)) => "it is TOML (case files come after the policy)",
        (_, Some(text)) if text.starts_with(['{', '[']) => {
            "it is JSON (settings, usages and contexts have flags of their own)"
        }
        (_, Some(_)) => "it is text",
        (_, None) => "its first bytes are those of something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, said) in [
            ("settings.json", &b" {\"price\": \"1\"}"[..], "it is JSON"),
            ("case.toml", b"[[case]]", "case files come after the policy"),
            ("lib.rs", b"use x;", "it is Rust"),
            ("empty.wasm", b"", "it is empty"),
            ("notes", b"hello", "it is text"),
            ("picture", b"\x89PNG\xff\xfe", "something else"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(name), "{error}");
        }
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("proviso policy new"), "{error}");
    }
}
