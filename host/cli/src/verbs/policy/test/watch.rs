//! `policy test --watch`: runs the cases, then again whenever a file of the policy or of its cases has changed.

use super::Flags;
use crate::{error::Error, exit::Verdict, terminal};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(300);
/// How deep folders are looked into.
const DEPTH: u8 = 8;

/// Runs until it is interrupted.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    loop {
        let named = named(&files(&roots(flags)));
        let all: Vec<PathBuf> = roots(flags).into_iter().chain(named).collect();
        let seen = files(&all);
        if let Err(error) = super::once(flags) {
            terminal::note(&format!("error: {error}"));
        }
        terminal::note("watching for changes; end with Ctrl-C");
        while files(&all) == seen {
            thread::sleep(EVERY);
        }
    }
}

/// What the command line names: the policy, and case files or their folders.
fn roots(flags: &Flags) -> Vec<PathBuf> {
    let beside = flags.policy.parent().map(|folder| folder.join("cases")).filter(|_| flags.policy.is_file());
    std::iter::once(&flags.policy).chain(&flags.cases).chain(&beside).cloned().collect()
}

/// What case files name besides: their settings, other policies, and the defaults beside them. What can't be read names nothing;
/// the run says what is wrong with it.
fn named(seen: &[Seen]) -> Vec<PathBuf> {
    let mut named = Vec::new();
    for (path, _) in seen.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "toml")) {
        let folder = path.parent().unwrap_or(Path::new(""));
        named.push(folder.join("defaults.toml"));
        let table = fs::read_to_string(path).ok().and_then(|text| toml::from_str::<toml::Table>(&text).ok());
        let Some(table) = table else { continue };
        let policies = table.get("policies").and_then(toml::Value::as_table);
        let policies = policies.into_iter().flat_map(toml::Table::values);
        let paths = table.get("settings_file").into_iter().chain(policies);
        named.extend(paths.filter_map(toml::Value::as_str).map(|name| folder.join(name)));
    }
    named
}

/// A file, and when it was written.
type Seen = (PathBuf, Option<SystemTime>);

/// Every file that counts.
fn files(paths: &[PathBuf]) -> Vec<Seen> {
    let mut files = Vec::new();
    for path in paths {
        look(path, DEPTH, &mut files);
    }
    files.sort();
    files.dedup();
    files
}

fn look(path: &Path, depth: u8, files: &mut Vec<Seen>) {
    let Ok(about) = fs::metadata(path) else { return };
    if !about.is_dir() {
        files.push((path.to_owned(), about.modified().ok()));
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // What is built or installed, and what version control keeps, is no source.
        let skipped = ["target", "dist", "node_modules"].iter().any(|made| name == *made)
            || name.to_string_lossy().starts_with('.');
        if depth > 0 && !skipped {
            look(&entry.path(), depth - 1, files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_case_files_name_is_watched_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("cases")).unwrap();
        fs::create_dir_all(at("next/src")).unwrap();
        let case = "settings_file = \"../terms.json\"\npolicies.next = \"../next\"\n";
        fs::write(at("cases/one.toml"), case).unwrap();
        fs::write(at("cases/wrong.toml"), "[[").unwrap();
        // Of one file that is named alone.
        for root in ["cases", "cases/one.toml"] {
            let roots = vec![at(root)];
            let all = [roots.clone(), named(&files(&roots))].concat();
            let mut before = files(&all);
            for changed in ["terms.json", "next/src/lib.rs", "cases/defaults.toml"] {
                assert_eq!(files(&all), before, "{root}");
                fs::write(at(changed), "").unwrap();
                assert_ne!(files(&all), before, "{root}: {changed}");
                before = files(&all);
                fs::remove_file(at(changed)).unwrap();
                assert_ne!(files(&all), before, "{root}: {changed} is gone");
                before = files(&all);
            }
        }
        let built = at("next/dist");
        let before = files(&[at("next")]);
        fs::create_dir_all(&built).unwrap();
        fs::write(built.join("policy.wasm"), "").unwrap();
        assert_eq!(files(&[at("next")]), before, "what is built is no source");
    }
}
