//! The case files of a run: which they are, and what they share.

use super::format::{self, CaseFile, Malformed, Settings};
use crate::{error::Error, verbs::policy::settings};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The file of a folder that says what its case files have in common.
const DEFAULTS: &str = "defaults.toml";

/// A case file as it was read.
pub struct Read {
    /// Where it lies, as it was named.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
    /// The same, with the folder's defaults under it.
    pub file: CaseFile,
    /// Where its policies lie.
    pub policies: BTreeMap<String, PathBuf>,
}

/// Reads the case files that are named, or else those in the folder `cases` beside the policy. All are read before anything is built:
/// a typo should not cost a compilation.
pub fn read(policy: &Path, named: &[PathBuf]) -> Result<Vec<Read>, Error> {
    find(policy, named)?.into_iter().map(read_one).collect()
}

fn read_one(path: PathBuf) -> Result<Read, Error> {
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let defaults = defaults(folder)?;
    let file = format::parse_with(&text, &defaults).map_err(at(&path))?;
    let policies = [&defaults, &file].into_iter().flat_map(|file| &file.policies);
    let policies = policies.map(|(name, place)| (name.clone(), folder.join(place))).collect();
    let settings = settings_of(&file, &path)?;
    Ok(Read { file: file.over(&defaults, settings), path, text, policies })
}

/// What a folder's case files have in common.
fn defaults(folder: &Path) -> Result<CaseFile, Error> {
    let path = folder.join(DEFAULTS);
    if !path.is_file() {
        return Ok(CaseFile::default());
    }
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let file = format::parse_defaults(&text).map_err(at(&path))?;
    let settings = settings_of(&file, &path)?;
    Ok(file.over(&CaseFile::default(), settings))
}

/// The settings of the file that a case file names.
fn settings_of(file: &CaseFile, path: &Path) -> Result<Option<Settings>, Error> {
    let Some(named) = &file.settings_file else { return Ok(None) };
    let place = path.parent().unwrap_or(Path::new("")).join(named);
    if !place.is_file() {
        let detail =
            format!("settings_file: there is no {}; it is looked for beside this file", place.display());
        return Err(Error::Content { path: path.to_owned(), detail });
    }
    settings::read(&place).map(|value| Some(Settings(value)))
}

fn at(path: &Path) -> impl FnOnce(Malformed) -> Error {
    let path = path.to_owned();
    move |malformed| Error::content(format!("{}:{}", path.display(), malformed.line))(malformed)
}

/// The case files that are meant, sorted.
fn find(policy: &Path, named: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let beside = if policy.is_dir() { Some(policy) } else { policy.parent() };
    let default = [beside.unwrap_or(Path::new("")).join("cases")];
    if named.is_empty() && !policy.exists() {
        let detail = "there is no such policy: name the folder of its crate, or a module that `proviso policy build` made";
        return Err(Error::Content { path: policy.to_owned(), detail: detail.to_owned() });
    }
    let named = if named.is_empty() { default.as_slice() } else { named };
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(Error::file(path))? {
                let path = entry.map_err(Error::file(path))?.path();
                let is_case = path.extension().is_some_and(|extension| extension == "toml")
                    && path.file_name().is_some_and(|name| name != DEFAULTS);
                if is_case {
                    files.push(path);
                }
            }
        } else if path.exists() {
            files.push(path.clone());
        } else {
            let detail = "there is no such file or folder of cases: write one such as cases/first.toml, or name case files behind the \
                          policy";
            return Err(Error::Content { path: path.clone(), detail: detail.to_owned() });
        }
    }
    files.sort();
    if files.is_empty() {
        let path = named.first().cloned().unwrap_or_default();
        return Err(Error::Content { path, detail: "there are no case files (*.toml) in it".to_owned() });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn what_files_share_is_laid_under_each() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "terms.json", r#"{"b": {"x": 2, "y": 2}, "c": 2}"#);
        write(
            folder,
            "cases/defaults.toml",
            "max_fuel = 7\npolicies.old = \"../old\"\ncustomers.beta = {}\n[settings]\na = 1\nb.x = 1\n[plans.pro]\n",
        );
        let one = "settings_file = \"../terms.json\"\nsettings.c = 3\n[[case]]\nname = \"n\"\n\
                   steps = [{ on = \"beta\", plan = \"pro\" }, { terms = { policy = \"old\" } }]\n";
        write(folder, "cases/one.toml", one);
        let read = read(folder, &[]).unwrap();
        let [Read { file, policies, .. }] = read.as_slice() else { panic!("{}", read.len()) };
        let setup = file.setup(file.cases[0].get_ref());
        assert_eq!(setup.settings.0, json!({"a": 1, "b": {"x": 2, "y": 2}, "c": 3}));
        assert_eq!((setup.max_fuel, setup.plans.len(), setup.customers.len()), (Some(7), 1, 1));
        assert_eq!(policies["old"], folder.join("cases/../old"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let error = |policy: &Path, named: &[PathBuf]| read(policy, named).err().unwrap().to_string();
        assert!(error(&folder.join("e1"), &[]).contains("e1: there is no such policy"));
        assert!(error(folder, &[]).contains("cases: there is no such file or folder of cases: write one"));
        let case = "[[case]]\nname = \"n\"\nsteps = [{}]\n";
        let file = write(folder, "cases/x.toml", &format!("settings_file = \"nope.json\"\n{case}"));
        assert!(error(folder, &[]).contains("there is no"), "{}", error(folder, &[]));
        write(folder, "cases/defaults.toml", case);
        assert!(error(folder, &[file]).contains("defaults.toml:1: defaults.toml holds"));
    }
}
