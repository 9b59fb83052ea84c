//! `proviso policy new`: makes the crate of a policy, with settings and cases that pass, from a template. The crate stands by itself,
//! outside any workspace, and depends on the sdk by its path; a folder in TypeScript has the sdk in it.

mod sdk;
mod typescript;

use super::schema;
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::{Args, ValueEnum};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What `policy new` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The folder to make; its name becomes the policy's
    dir: PathBuf,
    /// What to begin with
    #[arg(long, default_value = "blank")]
    template: Template,
    /// The folder of the crate proviso-sdk [default: policies/sdk in or above DIR, the working directory or this binary's folder]
    #[arg(long, value_name = "PATH", env = "PROVISO_SDK")]
    sdk: Option<PathBuf>,
}

/// What a policy begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// One price for a token, to write anything
    Blank,
    /// The standard policy: no code, all by settings
    Standard,
    /// Prices that fall with the month's volume
    VolumeTiers,
    /// A commitment that is trued up at each period's end
    Commitment,
    /// One price for a token, in TypeScript
    #[value(name = "typescript")]
    TypeScript,
}

/// The files of a crate: where, what is in them, and what they are for.
type Files = Vec<(&'static str, &'static str, &'static str)>;

const CARGO: &str = include_str!("templates/Cargo.toml.txt");

macro_rules! template {
    ($name:literal) => {
        vec![
            ("src/lib.rs", include_str!(concat!("templates/", $name, "/lib.rs")), "the policy"),
            (
                "settings.schema.json",
                include_str!(concat!("templates/", $name, "/schema.json")),
                "its settings, for people and forms",
            ),
            (
                "cases/defaults.toml",
                include_str!(concat!("templates/", $name, "/defaults.toml")),
                "the settings of all cases",
            ),
            (
                "cases/first.toml",
                include_str!(concat!("templates/", $name, "/cases.toml")),
                "cases that pass",
            ),
        ]
    };
}

impl Template {
    fn files(self) -> Files {
        match self {
            Self::Blank => template!("blank"),
            Self::VolumeTiers => template!("volume-tiers"),
            Self::Commitment => template!("commitment"),
            Self::TypeScript => typescript::files(),
            Self::Standard => vec![
                ("src/lib.rs", include_str!("templates/standard/lib.rs"), "the standard policy as it is"),
                (
                    "cases/defaults.toml",
                    include_str!("templates/standard/defaults.toml"),
                    "the contract's settings",
                ),
                ("cases/first.toml", include_str!("templates/standard/cases.toml"), "cases that pass"),
            ],
        }
    }
}

/// Makes the crate.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { dir, template, sdk } = flags;
    let refused = |detail: String| Error::Content { path: dir.clone(), detail };
    let name = crate_name(dir).ok_or_else(|| {
        refused("has no name that a policy could have: letters, digits, - and _".to_owned())
    })?;
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(refused("is not empty: name a new folder".to_owned())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file(dir)(error)),
        Ok(false) | Err(_) => {}
    }
    // First, since nothing is to be left of a crate whose sdk is not found.
    match template {
        Template::TypeScript => write(&dir.join(".gitignore"), "/node_modules\n/dist\n*.wasm\n")?,
        _ => write_crate(dir, &name, *template, sdk.as_deref())?,
    }
    let listed = template.files();
    for (path, text, _) in &listed {
        let text = text.replace("{{name}}", &name).replace(typescript::EXAMPLE, &name);
        write(&dir.join(path), &text)?;
    }
    write(&dir.join("cases/schema.json"), &format!("{:#}\n", schema::value()?))?;
    let paint = Paint::for_stdout();
    let mut text = format!("{} {}\n", paint.good("created"), dir.display());
    for (path, _, what) in listed {
        text.push_str(&format!("  {path:<22}{}\n", paint.faint(what)));
    }
    text.push_str(&format!("next: proviso policy test {}\n", dir.display()));
    terminal::print(&text)?;
    Ok(Verdict::Fine)
}

/// What makes a crate of the folder.
fn write_crate(dir: &Path, name: &str, template: Template, sdk: Option<&Path>) -> Result<(), Error> {
    let sdk = sdk::find(sdk, dir)?;
    let mut cargo = CARGO.replace("{{name}}", name).replace("{{sdk}}", &quoted(&sdk));
    if template == Template::Standard {
        let standard = sdk.with_file_name("standard");
        if !standard.join("Cargo.toml").is_file() {
            return Err(Error::Content {
                path: standard,
                detail: "is not there: this template needs the crate of the standard policy beside that of the sdk".to_owned(),
            });
        }
        cargo = cargo.replacen(
            "[dependencies]\n",
            &format!("[dependencies]\npolicy-standard = {{ path = {} }}\n", quoted(&standard)),
            1,
        );
    }
    write(&dir.join("Cargo.toml"), &cargo)?;
    write(&dir.join(".gitignore"), "/target\n*.wasm\n")?;
    if let Some(lock) = sdk::lock_file(&sdk) {
        fs::copy(&lock, dir.join("Cargo.lock")).map_err(Error::file(lock))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
    }
    fs::write(path, text).map_err(Error::file(path))
}

/// A path as a TOML string, which is written as JSON's are.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

/// The name of a folder as one that a crate may have.
fn crate_name(dir: &Path) -> Option<String> {
    let absolute = std::path::absolute(dir).ok()?;
    let name = absolute.file_name()?.to_str()?.to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    match name.chars().next()? {
        first if first.is_ascii_alphabetic() => Some(name.to_owned()),
        _ => Some(format!("policy-{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_become_names_of_crates() {
        for (folder, name) in [
            ("acme", Some("acme")),
            ("in/Acme 2026", Some("acme-2026")),
            ("2026.acme", Some("policy-2026-acme")),
            ("/", None),
            ("---", None),
        ] {
            assert_eq!(crate_name(Path::new(folder)).as_deref(), name, "{folder}");
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        let flags = Flags { dir: folder.path().to_owned(), template: Template::Blank, sdk: None };
        assert!(run(&flags).unwrap_err().to_string().contains("is not empty"));
    }
}
