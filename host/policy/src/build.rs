//! Builds the crate of a policy (of crate type `cdylib`) and wraps what it builds as a validated component; a folder in TypeScript
//! is built by [`typescript`]. Nothing is run here but the tools of the person who builds; what the component imports and exports is
//! judged on upload, by [`crate::inspect()`].

mod link;
mod typescript;

use crate::probe;
use serde::Deserialize;
use std::{
    env,
    ffi::OsString,
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

/// Where programs are looked for behind the folders of the search path, such as in a shell that has not been started anew since Rust
/// was installed.
const TOOL_FOLDERS: [&str; 3] = ["/usr/local/cargo/bin", "/usr/local/bin", "/usr/bin"];

/// Why a policy could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool could not be started.
    #[error("could not run {tool}: {source}")]
    Run {
        /// The tool's name.
        tool: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no Cargo.
    #[error(
        "Rust is missing: there is no `cargo` on the search path, nor in ~/.cargo/bin, /usr/local/cargo/bin, /usr/local/bin and \
         /usr/bin; install it from https://rustup.rs, or on Debian and Ubuntu by `apt-get install cargo-web rustc-web rust-web-src`"
    )]
    NoCargo,
    /// No compiler for WebAssembly is at hand, and none could be had.
    #[error(
        "no Rust compiler for {TARGET} works here:\n{}\neither run `rustup target add {TARGET}`, or on Debian and Ubuntu, where that \
         cannot reach its server, `apt-get install rustc-web rust-web-src`",
        missing(.0)
    )]
    NoToolchain(Vec<String>),
    /// Cargo said no; its own words, and what to do about them where that is known.
    #[error("the policy does not build:\n{}{}", .said.trim_end(), mended(.said, .manifest))]
    Cargo {
        /// What Cargo printed.
        said: String,
        /// The manifest of the crate.
        manifest: PathBuf,
    },
    /// Cargo built, but not a module.
    #[error("{}: builds no module: it needs `crate-type = [\"cdylib\", \"rlib\"]` under [lib]", .0.display())]
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
    #[error(
        "{}: exports no policy: add `proviso_sdk::export!(MyPolicy, no_std);`, with the name of the type that implements Policy \
         (without `, no_std` where the crate uses std)",
        .0.display()
    )]
    NotAPolicy(PathBuf),
    /// A policy in TypeScript can't be built without Node.js.
    #[error(
        "Node.js is missing: there is no `{0}` on the search path; policies in TypeScript are built with Node.js 20 or later, from \
         https://nodejs.org or by `apt-get install nodejs npm`"
    )]
    NoNode(&'static str),
    /// The one that is there is too old.
    #[error(
        "Node.js is {found}: policies in TypeScript are built with Node.js 20 or later, from https://nodejs.org"
    )]
    OldNode {
        /// What it says of itself.
        found: String,
    },
    /// A tool of Node.js said no; its own words, and what to do about them where that is known.
    #[error("the policy does not build: {tool} says:\n{}{}", .said.trim(), offline(.tool, .said))]
    Node {
        /// The tool's name.
        tool: &'static str,
        /// What it printed.
        said: String,
    },
    /// A file could not be written.
    #[error("could not write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The module does not fit its interface.
    #[error("the module does not make a component: {0}")]
    Component(String),
}

/// What to do where npm has no network.
fn offline(tool: &str, said: &str) -> &'static str {
    let codes = ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "ENOTCACHED"];
    if tool == "npm" && codes.iter().any(|code| said.contains(code)) {
        "\nthe first build needs a network, to install what package.json names into node_modules; later ones do not"
    } else {
        ""
    }
}

fn missing(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("  {reason}")).collect::<Vec<_>>().join("\n")
}

/// What to do about an error of Cargo's whose own words leave that open.
fn mended(said: &str, manifest: &Path) -> String {
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    let mend = if has(&[
        "failed to get `proviso-sdk`",
        "failed to load manifest for dependency `proviso-sdk`",
    ]) {
        format!(
            "{}: the path of proviso-sdk must be the folder policies/sdk in the repository of Proviso",
            manifest.display()
        )
    } else if has(&[
        "failed to download",
        "Could not resolve host",
        "network failure",
        "you may proceed offline",
        "--offline",
    ]) {
        format!(
            "not all crates that it needs are on this machine, and they could not be downloaded: build it once with a network, or copy \
             Cargo.lock from the repository of Proviso to {}, so that the same versions are taken",
            manifest.with_file_name("Cargo.lock").display()
        )
    } else {
        return String::new();
    };
    format!("\n{mend}")
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
    /// When none does: what each of them lacks.
    pub fn find(dir: &Path) -> Result<Self, BuildError> {
        let mut reasons = Vec::new();
        match rustc_prints(dir, &["--print", "target-libdir", "--target", TARGET]) {
            Some(folder) if folder.is_dir() => return Ok(Self::Installed),
            Some(folder) => match add_target(dir) {
                Ok(()) if folder.is_dir() => return Ok(Self::Installed),
                Ok(()) => {
                    reasons.push(format!("rustup added {TARGET}, but {} is not there", folder.display()))
                }
                Err(reason) => {
                    reasons.push(format!(
                        "rustc has no standard library for {TARGET} ({} is missing)",
                        folder.display()
                    ));
                    reasons.push(reason);
                }
            },
            None => reasons
                .push("`rustc --print target-libdir` fails: no Rust compiler, or an older one".to_owned()),
        }
        match (Path::new(DEBIAN_RUSTC).exists(), Path::new(DEBIAN_SOURCES).exists()) {
            (true, true) => return Ok(Self::Debian),
            (true, false) => {
                reasons.push(format!("{DEBIAN_RUSTC} has no {DEBIAN_SOURCES}, from Debian's rust-web-src"))
            }
            (false, _) => reasons.push(format!("there is no {DEBIAN_RUSTC}, from Debian's rustc-web")),
        }
        Err(BuildError::NoToolchain(reasons))
    }
}

/// Builds the policy in `dir`, a crate or a folder in TypeScript, with whichever tools are at hand.
///
/// # Errors
/// When there are none, the policy does not build, or what is built is not a policy.
pub fn build(dir: &Path) -> Result<Vec<u8>, BuildError> {
    if is_typescript(dir) { typescript::build(dir) } else { build_with(dir, Toolchain::find(dir)?) }
}

/// Whether the policy in `dir` is in TypeScript.
#[must_use]
pub fn is_typescript(dir: &Path) -> bool {
    !dir.join("Cargo.toml").is_file() && dir.join("package.json").is_file()
}

/// The same, but where the crate says `export!(…, no_std)` its panics leave their text in the log. That is another module, for looking
/// at a fault; it decides the same.
///
/// # Errors
/// See [`build`].
pub fn build_logging_panics(dir: &Path) -> Result<Vec<u8>, BuildError> {
    build_for(dir, Toolchain::find(dir)?, &[("PROVISO_LOG_PANICS", "1")])
}

/// Builds the policy crate in `dir` with this compiler.
///
/// # Errors
/// When the crate does not build or what it builds is not a policy.
pub fn build_with(dir: &Path, toolchain: Toolchain) -> Result<Vec<u8>, BuildError> {
    build_for(dir, toolchain, &[])
}

fn build_for(dir: &Path, toolchain: Toolchain, variables: &[(&str, &str)]) -> Result<Vec<u8>, BuildError> {
    Ok(probe::Source::of_core(core(dir, toolchain, variables)?, dir)?.into_component())
}

/// The core module of the policy crate in `dir`. It names its functions and the lines of the crate's own code, for the instruments
/// in [`probe`]; that changes nothing of the code itself, and no component has it. It is built so for every use, since Cargo would
/// otherwise build the crate anew with every other one.
pub(crate) fn core(
    dir: &Path,
    toolchain: Toolchain,
    variables: &[(&str, &str)],
) -> Result<Vec<u8>, BuildError> {
    let manifest = dir.join("Cargo.toml");
    // A folder of its own: neither the lock nor the artifacts of a native build are in the way.
    let target_dir = target_directory(&manifest)?.join("policies");
    let mut cargo = tool("cargo");
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
        .env_remove("PROVISO_LOG_PANICS")
        .envs(SETTINGS)
        .envs(variables.iter().copied())
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
        return Err(cargo_error(&output, manifest));
    }
    let path = module_path(&output.stdout, &manifest).ok_or(BuildError::NoModule(manifest))?;
    std::fs::read(&path).map_err(|source| BuildError::Read { path, source })
}

fn cargo_error(output: &Output, manifest: PathBuf) -> BuildError {
    BuildError::Cargo { said: String::from_utf8_lossy(&output.stderr).into_owned(), manifest }
}

/// Wraps a core module, which carries its interface with it and comes from `source`, as a component.
pub(crate) fn component(module: &[u8], source: &Path) -> Result<Vec<u8>, BuildError> {
    let (mut describes_itself, mut exports_policy) = (false, false);
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CustomSection(section)) => {
                describes_itself |= section.name().starts_with("component-type")
            }
            // The sdk alone brings the interface along; what makes a policy of a crate is that it exports its functions.
            Ok(Payload::ExportSection(section)) => {
                exports_policy |=
                    section.into_iter().flatten().any(|export| export.name.ends_with("describe"));
            }
            _ => {}
        }
    }
    if !describes_itself || !exports_policy {
        return Err(BuildError::NotAPolicy(source.to_owned()));
    }
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Component(format!("{error:#}")))
}

/// A command that finds its program also where Rust is installed by default.
fn tool(name: &str) -> Command {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(env::home_dir().map(|home| home.join(".cargo/bin")));
    folders.extend(TOOL_FOLDERS.map(PathBuf::from));
    let mut command = Command::new(name);
    if let Ok(path) = env::join_paths::<_, OsString>(folders.into_iter().map(Into::into)) {
        command.env("PATH", path);
    }
    command
}

fn run(tool: &'static str, command: &mut Command) -> Result<Output, BuildError> {
    command.output().map_err(|source| match (tool, source.kind()) {
        ("cargo", io::ErrorKind::NotFound) => BuildError::NoCargo,
        _ => BuildError::Run { tool, source },
    })
}

/// Where Cargo puts what it builds for this crate.
fn target_directory(manifest: &Path) -> Result<PathBuf, BuildError> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let mut cargo = tool("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = run("cargo", &mut cargo)?;
    if !output.status.success() {
        return Err(cargo_error(&output, manifest.to_owned()));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| BuildError::Cargo { said: error.to_string(), manifest: manifest.to_owned() })?;
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
    let output = tool("rustc").args(arguments).current_dir(dir).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim()))
}

/// Has rustup install the target, or says why it can't.
fn add_target(dir: &Path) -> Result<(), String> {
    let added = tool("rustup").args(["target", "add", TARGET]).current_dir(dir).output();
    let output = added.map_err(|error| format!("`rustup target add` can't be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed").trim();
    Err(format!("`rustup target add {TARGET}` failed: {last}"))
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
        assert!(matches!(nowhere, BuildError::Cargo { .. }), "{nowhere}");
        for bytes in [&b"\0asm\x01\0\0\0"[..], b"not a module"] {
            let error = component(bytes, Path::new("mine/src/lib.rs")).unwrap_err();
            assert!(matches!(error, BuildError::NotAPolicy(_)));
            assert!(
                error
                    .to_string()
                    .starts_with("mine/src/lib.rs: exports no policy: add `proviso_sdk::export!")
            );
        }
    }

    #[test]
    fn what_cargo_leaves_open_gets_a_mend() {
        for (said, mend) in [
            ("error: failed to get `proviso-sdk` as a dependency", "/c/Cargo.toml: the path of proviso-sdk"),
            (
                "error: failed to download from `x`",
                "Cargo.lock from the repository of Proviso to /c/Cargo.lock",
            ),
        ] {
            let text =
                BuildError::Cargo { said: said.to_owned(), manifest: "/c/Cargo.toml".into() }.to_string();
            assert!(text.contains(said) && text.contains(mend), "{text}");
        }
        assert_eq!(mended("error[E0308]: mismatched types", Path::new("/c/Cargo.toml")), "");
        let none = BuildError::NoToolchain(vec!["one".to_owned(), "two".to_owned()]).to_string();
        assert!(none.contains("\n  one\n  two\n"), "{none}");
    }
}
