//! The guide does what it says: its files are written, its commands run in their order, and what they print holds what it shows.

use crate::support::{BINARY, repository};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The address in the guide, and how its host is started.
const ADDRESS: &str = "127.0.0.1:7070";
const SERVE: &str = "proviso serve";

/// What stands between two fences, and what its first line says of it.
struct Block<'t> {
    kind: &'t str,
    /// The file that it is.
    file: Option<&'t str>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in page.lines() {
        match (open.take(), line.strip_prefix("```")) {
            (None, Some(info)) => {
                let (kind, file) =
                    info.split_once(' ').map_or((info, None), |(kind, file)| (kind, Some(file)));
                open = Some(Block { kind, file, text: String::new() });
            }
            (None, None) => {}
            (Some(block), Some(_)) => blocks.push(block),
            (Some(mut block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// A host in a process group of its own, which ends with it.
struct Serving {
    shell: Child,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.shell.wait();
    }
}

/// A shell in the guide's folder, with the binary under test in its path.
fn shell(folder: &Path, script: &str) -> Command {
    let binaries = Path::new(BINARY).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", script]).current_dir(folder).stdin(Stdio::null());
    command.env("PATH", format!("{}:{path}", binaries.display()));
    // Built where the repository's own policies are, so that what they share is built once.
    command.env("CARGO_TARGET_DIR", Path::new(BINARY).ancestors().nth(2).unwrap());
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("authoring-cache"));
    for name in ["PROVISO_KEY", "PROVISO_SERVER", "PROVISO_DATABASE_URL", "PROVISO_DATA_DIR"] {
        command.env_remove(name);
    }
    command
}

fn serve(folder: &Path, script: &str) -> Serving {
    let mut command = shell(folder, script);
    // Whatever port is free.
    let log = fs::File::create(folder.join("host.log")).unwrap();
    command.env("PROVISO_LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).stderr(log).process_group(0);
    let mut shell = command.spawn().expect("a shell starts");
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    let line = lines.next().expect("the host says something").unwrap();
    let address = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}")).to_owned();
    std::thread::spawn(move || lines.for_each(drop));
    Serving { shell, address }
}

#[test]
fn the_guide_does_what_it_says() {
    let page = fs::read_to_string(repository().join("docs/guide.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut exports, mut printed, mut commands) = (String::new(), String::new(), 0);
    let mut host: Option<Serving> = None;
    for block in blocks(&page) {
        let here = |text: &str| {
            let address = host.as_ref().map_or(ADDRESS, |host| host.address.as_str());
            text.replace(ADDRESS, address)
        };
        match (block.kind, block.file) {
            (_, Some(file)) => {
                let path = folder.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &block.text).unwrap();
            }
            ("sh", None) => {
                let script = format!("{exports}{}", here(&block.text));
                // What one block exports is known to those after it.
                for line in block.text.lines().filter(|line| line.starts_with("export ")) {
                    exports.push_str(&format!("{}\n", here(line)));
                }
                commands += block.text.lines().count();
                if block.text.contains(SERVE) {
                    host = Some(serve(folder, &script));
                    continue;
                }
                let output = shell(folder, &script).output().expect("a shell starts");
                printed =
                    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
                assert!(output.status.success(), "{}\n{printed}", block.text);
            }
            ("text", None) => {
                for line in block.text.lines() {
                    assert!(printed.contains(line), "{line:?} is not in what was printed:\n{printed}");
                }
            }
            (kind, None) => {
                panic!("a block of {kind:?} is neither a file, nor commands, nor what they print")
            }
        }
    }
    assert!(commands > 15 && host.is_some(), "{commands} commands");
}
