//! Builds the folder of a policy in TypeScript: `tsc` checks and translates it, `componentize-qjs` puts it into a component together
//! with QuickJS, and [`link`] makes one module of that. The tools are the folder's own development dependencies, and no part of this
//! program.
//!
//! QuickJS draws random numbers when it starts, which its stored state keeps: the same sources give other bytes each time, and so
//! another version. So what was built is built again only when something that it was built from has changed.

use super::{BuildError, link};
use crate::v1::{WIT, WORLD};
use proviso_ledger::model::ids::Digest;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Where everything goes that is made on the way, within the policy's folder.
const OUT: &str = "dist";
/// The module that exports the policy.
const ENTRY: &str = "src/policy.js";
/// What a component is built from, within the policy's folder.
const SOURCES: [&str; 5] = ["package.json", "package-lock.json", "tsconfig.json", "sdk", "src"];
/// The oldest release of Node.js that the tools are tried with.
const NODE_MAJOR: u32 = 20;

/// Builds the folder; what it depends on is installed first, where that is missing.
pub(super) fn build(dir: &Path) -> Result<Vec<u8>, BuildError> {
    let dir = std::path::absolute(dir).map_err(|source| BuildError::Read { path: dir.to_owned(), source })?;
    let out = dir.join(OUT);
    let (component, built_from) = (out.join("policy.wasm"), out.join("policy.sources"));
    let sources = digest(&dir)?.to_string();
    if fs::read_to_string(&built_from).is_ok_and(|known| known == sources)
        && let Ok(bytes) = fs::read(&component)
    {
        return Ok(bytes);
    }
    check_node()?;
    let (tsc, componentize) = (installed(&dir, "tsc"), installed(&dir, "componentize-qjs"));
    if !tsc.exists() || !componentize.exists() {
        let subcommand = if dir.join("package-lock.json").is_file() { "ci" } else { "install" };
        run(
            "npm",
            Command::new("npm")
                .args([subcommand, "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&dir),
        )?;
    }
    // What an earlier build left must not be taken for a part of this one.
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrote(&out)(error)),
        Ok(()) | Err(_) => {}
    }
    let script = |path: &Path| {
        let mut node = Command::new("node");
        node.arg(path).current_dir(&dir);
        node
    };
    run("tsc", script(&tsc).args(["--project", "."]).arg("--outDir").arg(&out))?;
    let (wit, linked) = (out.join("policy.wit"), out.join("linked.wasm"));
    fs::write(&wit, WIT).map_err(wrote(&wit))?;
    let world = WORLD.rsplit('/').next().and_then(|name| name.split('@').next()).unwrap_or(WORLD);
    run(
        "componentize-qjs",
        script(&componentize)
            .args(["--sync", "--minify", "--world", world])
            .arg("--wit")
            .arg(&wit)
            .arg("--js")
            .arg(out.join(ENTRY))
            // Where it looks for the packages that the policy imports.
            .arg("--module-root")
            .arg(&dir)
            .arg("--output")
            .arg(&linked),
    )?;
    let bytes = fs::read(&linked).map_err(|source| BuildError::Read { path: linked, source })?;
    let bytes = link::flat(&bytes).map_err(BuildError::Component)?;
    fs::write(&component, &bytes).map_err(wrote(&component))?;
    fs::write(&built_from, sources).map_err(wrote(&built_from))?;
    Ok(bytes)
}

/// Of everything that a component is built from.
fn digest(dir: &Path) -> Result<Digest, BuildError> {
    let mut all = WIT.as_bytes().to_vec();
    let mut waiting: Vec<PathBuf> = SOURCES.iter().rev().map(|name| dir.join(name)).collect();
    while let Some(path) = waiting.pop() {
        let failed = |source| BuildError::Read { path: path.clone(), source };
        if path.is_dir() {
            let entries: Result<Vec<_>, _> = fs::read_dir(&path).map_err(failed)?.collect();
            let mut inner: Vec<PathBuf> = entries.map_err(failed)?.iter().map(fs::DirEntry::path).collect();
            inner.sort();
            waiting.extend(inner.into_iter().rev());
        } else if path.is_file() {
            let bytes = fs::read(&path).map_err(failed)?;
            let name = path.strip_prefix(dir).unwrap_or(&path);
            all.extend_from_slice(format!("\0{}\0{}\0", name.display(), bytes.len()).as_bytes());
            all.extend_from_slice(&bytes);
        }
    }
    Ok(Digest::of(&all))
}

/// Whether Node.js is there and new enough.
fn check_node() -> Result<(), BuildError> {
    let said = run("node", Command::new("node").arg("--version"))?;
    match major(&said) {
        Some(major) if major < NODE_MAJOR => Err(BuildError::OldNode { found: said.trim().to_owned() }),
        // What can't be read is left to the tools to judge.
        _ => Ok(()),
    }
}

/// The 20 of `v20.1.0`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn installed(dir: &Path, name: &str) -> PathBuf {
    dir.join("node_modules/.bin").join(name)
}

fn wrote(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    move |source| BuildError::Write { path: path.to_owned(), source }
}

/// Runs one of Node.js's programs; what it printed is the error when it fails. `tsc` prints its errors to the standard output.
fn run(tool: &'static str, command: &mut Command) -> Result<String, BuildError> {
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BuildError::NoNode(if tool == "npm" { "npm" } else { "node" }),
        _ => BuildError::Run { tool, source },
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() {
        return Ok(text(output.stdout));
    }
    Err(BuildError::Node { tool, said: text(output.stdout) + &text(output.stderr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_fails_is_named() {
        let missing = run("npm", &mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(missing.to_string().starts_with("Node.js is missing: there is no `npm`"), "{missing}");
        let failed = run("tsc", Command::new("sh").args(["-c", "echo wrong in line 3; exit 2"])).unwrap_err();
        assert_eq!(failed.to_string(), "the policy does not build: tsc says:\nwrong in line 3");
        let offline = "npm error code ENOTFOUND\nnpm error network request to a registry failed";
        let failed = BuildError::Node { tool: "npm", said: offline.to_owned() }.to_string();
        assert!(failed.contains("the first build needs a network"), "{failed}");
        let old = BuildError::OldNode { found: "v18.1.0".to_owned() }.to_string();
        assert!(old.contains("v18.1.0") && old.contains("20 or later"), "{old}");
    }

    #[test]
    fn versions_of_node_are_read() {
        for (said, expected) in [("v20.20.2\n", Some(20)), ("v8.0", Some(8)), ("20.1", None), ("", None)] {
            assert_eq!(major(said), expected, "{said:?}");
        }
    }

    #[test]
    fn a_change_of_any_source_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("package.json", "{}");
        write("src/policy.ts", "1");
        let mut seen = vec![digest(folder.path()).unwrap()];
        for (name, text) in [("src/policy.ts", "2"), ("src/tiers/of.ts", ""), ("package-lock.json", "{}")] {
            write(name, text);
            let now = digest(folder.path()).unwrap();
            assert!(!seen.contains(&now), "{name}");
            seen.push(now);
        }
        write("dist/policy.js", "what was built is no source");
        assert_eq!(digest(folder.path()).unwrap(), seen[3]);
    }
}
