//! Where a policy comes from: the folder of its crate, which is built, or a file.

use crate::{error::Error, terminal};
use proviso_policy::{build::is_typescript, probe::Source};
use std::{fs, path::Path};

/// How every WebAssembly module begins.
const MAGIC: &[u8] = b"\0asm";

/// The component of a crate's folder or of a file.
pub fn load(path: &Path) -> Result<Vec<u8>, Error> {
    if path.is_dir() { build(path) } else { module(path) }
}

/// The module in a file.
fn module(path: &Path) -> Result<Vec<u8>, Error> {
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

/// Refuses what is interpreted, for instruments that read compiled code.
pub fn check_compiled(path: &Path) -> Result<(), Error> {
    if !is_typescript(path) {
        return Ok(());
    }
    let detail =
        "is in TypeScript: what runs is its interpreter, of whose compiled code there is nothing to say"
            .to_owned();
    Err(Error::Content { path: path.to_owned(), detail })
}

/// The same, to look into: of a crate's folder with names and lines, of a file with those that it has.
pub fn instrumented(path: &Path) -> Result<Source, Error> {
    if is_typescript(path) {
        return Source::of_component(build(path)?).map_err(Error::refused);
    }
    if path.is_dir() {
        announce(path)?;
        return Ok(Source::build(path)?);
    }
    let component = module(path)?;
    // A server's own words for what is no policy at all come before those for what can't be looked into.
    proviso_policy::class_for(&component, &super::limits()).map_err(Error::Refused)?;
    Source::of_component(component).map_err(Error::refused)
}

/// Whether a source file, by the path that the compiler saw, belongs to the policy: it lies in the crate's folder, or, when all
/// that is known is the module, not among the libraries.
pub fn is_own(policy: &Path, file: &str) -> bool {
    if policy.is_dir() {
        let folder = policy.canonicalize().unwrap_or_else(|_| policy.to_owned());
        Path::new(file).starts_with(folder)
    } else {
        !["/rustc/", "/rustlib/", "/.cargo/"].iter().any(|library| file.contains(library))
    }
}

/// Builds the crate in a folder, and says so, since the first time takes a while.
pub fn build(folder: &Path) -> Result<Vec<u8>, Error> {
    announce(folder)?;
    Ok(proviso_policy::build::build(folder)?)
}

fn announce(folder: &Path) -> Result<(), Error> {
    check(folder)?;
    terminal::note(&format!("building {}", folder.display()));
    Ok(())
}

/// The same module but for its panics, whose text it leaves in the log.
pub fn build_logging_panics(folder: &Path) -> Result<Vec<u8>, Error> {
    check(folder)?;
    // One in TypeScript always does.
    if is_typescript(folder) {
        return Ok(proviso_policy::build::build(folder)?);
    }
    Ok(proviso_policy::build::build_logging_panics(folder)?)
}

fn check(folder: &Path) -> Result<(), Error> {
    if folder.join("Cargo.toml").is_file() || is_typescript(folder) {
        return Ok(());
    }
    let detail =
        "no policy: there is no Cargo.toml in it, nor a package.json; `proviso policy new` makes one in a new folder"
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
