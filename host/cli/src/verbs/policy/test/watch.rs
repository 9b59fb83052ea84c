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
        let seen = state(flags);
        if let Err(error) = super::once(flags) {
            terminal::note(&format!("error: {error}"));
        }
        terminal::note("watching for changes; end with Ctrl-C");
        while state(flags) == seen {
            thread::sleep(EVERY);
        }
    }
}

/// Every file that counts, with when it was written.
fn state(flags: &Flags) -> Vec<(PathBuf, Option<SystemTime>)> {
    let mut files = Vec::new();
    let beside = flags.policy.parent().map(|folder| folder.join("cases")).filter(|_| flags.policy.is_file());
    for path in std::iter::once(&flags.policy).chain(&flags.cases).chain(&beside) {
        look(path, DEPTH, &mut files);
    }
    files.sort();
    files
}

fn look(path: &Path, depth: u8, files: &mut Vec<(PathBuf, Option<SystemTime>)>) {
    let Ok(about) = fs::metadata(path) else { return };
    if !about.is_dir() {
        files.push((path.to_owned(), about.modified().ok()));
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // What is built, and what version control keeps, is no source.
        let skipped = name == "target" || name.to_string_lossy().starts_with('.');
        if depth > 0 && !skipped {
            look(&entry.path(), depth - 1, files);
        }
    }
}
