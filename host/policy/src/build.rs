//! Builds the crate of a policy (of crate type `cdylib`) and wraps what it builds as a validated component. Nothing is run
//! here but `cargo`, `rustc` and `rustup` of the person who builds; what the component imports and exports is judged on
//! upload, by [`crate::inspect()`].

use crate::probe;
use serde::Deserialize;
use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's `rustc-web` and `rust-web-src` put the compiler and the sources of the standard library.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/Cargo.toml";

/// What every policy is built with, whatever the crate's own profile says: small, fast to start, and never wrong
/// silently. A decision runs in a fresh instance, so its stack is small.
const SETTINGS: [(&str, &str); 9] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_STRIP", "true"),
    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-C link-arg=-zstack-size=32768"),
];

/// Why a policy could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is missing or could not be started.
    #[error("could not run {tool}: {source}")]
    Run {
        /// The tool's name.
        tool: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No compiler for WebAssembly is at hand, and none could be had.
    #[error(
        "no Rust compiler for {TARGET} is installed; either run `rustup target add {TARGET}`, or on Debian and Ubuntu, \
         where that cannot reach its server, `apt-get install rustc-web rust-web-src`"
    )]
    NoToolchain,
    /// Cargo said no; its own words.
    #[error("the policy does not build:\n{0}")]
    Cargo(String),
    /// Cargo built, but not a module.
    #[error("{} builds no module: its Cargo.toml needs [lib] crate-type = [\"cdylib\"]", .0.display())]
    NoModule(PathBuf),
    /// The module could not be read back.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The module.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The module has no interface.
    #[error("the module is not a policy: the crate must call proviso_sdk::export!")]
    NotAPolicy,
    /// The module does not fit its interface.
    #[error("the module does not make a component: {0}")]
    Component(String),
}

/// Which compiler makes the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The `rustc` that Cargo uses by itself, with the standard library of the target installed, as rustup does it.
    Installed,
    /// Debian's `rustc-web`, which builds the standard library from `rust-web-src`.
    Debian,
}

impl Toolchain {
    /// The first that works for the crate in `dir`. Where rustup lacks the target, it is asked to install it.
    ///
    /// # Errors
    /// When none does.
    pub fn find(dir: &Path) -> Result<Self, BuildError> {
        if has_target(dir) || (add_target(dir) && has_target(dir)) {
            Ok(Self::Installed)
        } else if Path::new(DEBIAN_RUSTC).exists() && Path::new(DEBIAN_SOURCES).exists() {
            Ok(Self::Debian)
        } else {
            Err(BuildError::NoToolchain)
        }
    }
}

/// Builds the policy crate in `dir` with whichever compiler is at hand.
///
/// # Errors
/// When there is no compiler, the crate does not build, or what it builds is not a policy.
pub fn build(dir: &Path) -> Result<Vec<u8>, BuildError> {
    build_with(dir, Toolchain::find(dir)?)
}

/// Builds the policy crate in `dir` with this compiler.
///
/// # Errors
/// When the crate does not build or what it builds is not a policy.
pub fn build_with(dir: &Path, toolchain: Toolchain) -> Result<Vec<u8>, BuildError> {
    Ok(probe::Source::of_core(core(dir, toolchain)?)?.into_component())
}

/// The core module of the policy crate in `dir`. It names its functions and the lines of the crate's own code, for the instruments
/// in [`probe`]; that changes nothing of the code itself, and no component has it. It is built so for every use, since Cargo would
/// otherwise build the crate anew with every other one.
pub(crate) fn core(dir: &Path, toolchain: Toolchain) -> Result<Vec<u8>, BuildError> {
    let manifest = dir.join("Cargo.toml");
    // A folder of its own: neither the lock nor the artifacts of a native build are in the way.
    let target_dir = target_directory(&manifest)?.join("policies");
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "rustc",
            "--lib",
            "--release",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target_dir)
        .envs(SETTINGS)
        // These would take the place of the target's own flags.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    if toolchain == Toolchain::Debian {
        cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        if let Some(linker) = rustup_linker(dir) {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
    // Of the crate itself: what it depends on is as the settings say.
    cargo.args(["--", "-C", "debuginfo=line-tables-only", "-C", "strip=none"]);
    let output = run("cargo", &mut cargo)?;
    if !output.status.success() {
        return Err(BuildError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let path = module_path(&output.stdout, &manifest).ok_or_else(|| BuildError::NoModule(dir.to_owned()))?;
    std::fs::read(&path).map_err(|source| BuildError::Read { path, source })
}

/// Wraps a core module, which carries its interface with it, as a component.
pub(crate) fn component(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let describes_itself = Parser::new(0).parse_all(module).any(|payload| match payload {
        Ok(Payload::CustomSection(section)) => section.name().starts_with("component-type"),
        _ => false,
    });
    if !describes_itself {
        return Err(BuildError::NotAPolicy);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Component(format!("{error:#}")))
}

fn run(tool: &'static str, command: &mut Command) -> Result<Output, BuildError> {
    command.output().map_err(|source| BuildError::Run { tool, source })
}

/// Where Cargo puts what it builds for this crate.
fn target_directory(manifest: &Path) -> Result<PathBuf, BuildError> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = run("cargo", &mut cargo)?;
    if !output.status.success() {
        return Err(BuildError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| BuildError::Cargo(error.to_string()))?;
    Ok(metadata.target_directory)
}

/// The module among the artifacts that Cargo lists, one JSON object a line.
fn module_path(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        filenames: Vec<PathBuf>,
    }
    let manifest = manifest.canonicalize().ok()?;
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .filter(|artifact| artifact.manifest_path.canonicalize().is_ok_and(|path| path == manifest))
        .flat_map(|artifact| artifact.filenames)
        .find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
}

/// What `rustc` prints for the crate in `dir`, which may choose its own toolchain.
fn rustc_prints(dir: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let output = Command::new("rustc").args(arguments).current_dir(dir).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

fn has_target(dir: &Path) -> bool {
    rustc_prints(dir, &["--print", "target-libdir", "--target", TARGET]).is_some_and(|path| path.is_dir())
}

fn add_target(dir: &Path) -> bool {
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir).output();
    added.is_ok_and(|output| output.status.success())
}

/// The linker that comes with rustup's compiler. Debian's own needs a further package; without either, `rust-lld` is
/// looked for on the path.
fn rustup_linker(dir: &Path) -> Option<PathBuf> {
    let libraries = rustc_prints(dir, &["--print", "target-libdir"])?;
    let linker = libraries.parent()?.join("bin/rust-lld");
    linker.is_file().then_some(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_the_artifacts() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let line = |manifest: &Path, file: &str| {
            format!(r#"{{"reason":"compiler-artifact","manifest_path":{manifest:?},"filenames":[{file:?}]}}"#)
        };
        let messages = [
            line(Path::new("/elsewhere/Cargo.toml"), "/t/other.wasm"),
            line(&manifest, "/t/libpolicy.rlib"),
            line(&manifest, "/t/policy.wasm"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        assert_eq!(module_path(messages.as_bytes(), &manifest), Some(PathBuf::from("/t/policy.wasm")));
        assert_eq!(module_path(b"", &manifest), None);
    }

    #[test]
    fn what_is_not_a_policy_is_named() {
        let nowhere = build_with(Path::new("/nowhere/at/all"), Toolchain::Installed).unwrap_err();
        assert!(matches!(nowhere, BuildError::Cargo(_)), "{nowhere}");
        assert!(matches!(component(b"\0asm\x01\0\0\0"), Err(BuildError::NotAPolicy)));
        assert!(matches!(component(b"not a module"), Err(BuildError::NotAPolicy)));
    }
}
