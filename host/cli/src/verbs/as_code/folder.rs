//! A folder of terms: `plans/` and `policies/`, a file for each. All files are read, and all that is wrong in them is said at once.

use super::{
    document::{Document, Wrong, refused},
    format::{Module, PlanFile, PolicyFile, TermsEntry},
};
use crate::{
    error::Error,
    verbs::policy::{settings, test::format::Settings},
};
use clap::Args;
use proviso_ledger::model::ids::Name;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The folder of plans' files.
pub const PLANS: &str = "plans";
/// The folder of policies' files.
pub const POLICIES: &str = "policies";

/// Which folder a server is to be brought to.
#[derive(Debug, Args)]
pub struct Wanted {
    /// The folder, with plans/ and policies/ in it
    pub dir: PathBuf,
    /// End the terms of plans that are not in the folder, and of those that are in it without any
    #[arg(long)]
    pub prune: bool,
}

/// What a folder says.
#[derive(Debug, Default)]
pub struct Folder {
    /// Plans.
    pub plans: BTreeMap<Name, Plan>,
    /// Policies.
    pub policies: BTreeMap<Name, Policy>,
}

/// A plan's file.
#[derive(Debug)]
pub struct Plan {
    /// The file.
    pub document: Document,
    /// The terms in it.
    pub terms: Vec<Terms>,
}

/// Terms in a plan's file.
#[derive(Debug)]
pub struct Terms {
    /// The policy.
    pub policy: Name,
    /// The module that they name, or else the policy's file does.
    pub module: Option<Module>,
    /// The file that says so.
    pub module_in: PathBuf,
    /// The settings, whole.
    pub settings: Value,
    /// The file that they lie in, or some of them.
    pub settings_file: Option<Document>,
}

/// A policy's file.
#[derive(Debug)]
pub struct Policy {
    /// The file.
    pub document: Document,
    /// The module that terms mean which name none.
    pub module: Option<Module>,
}

impl Folder {
    /// Reads a folder.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let is_there = |name: &str| dir.join(name).is_dir();
        if !is_there(PLANS) && !is_there(POLICIES) {
            let detail = format!(
                "has no folder {PLANS} and none {POLICIES}: `proviso pull {}` makes them of what a server has",
                dir.display()
            );
            return Err(Error::Content { path: dir.to_owned(), detail });
        }
        let (mut folder, mut wrong) = (Self::default(), Vec::new());
        for (name, document) in documents(&dir.join(POLICIES), &mut wrong)? {
            match policy(document) {
                Ok(policy) => drop(folder.policies.insert(name, policy)),
                Err(one) => wrong.push(one),
            }
        }
        for (name, document) in documents(&dir.join(PLANS), &mut wrong)? {
            match plan(document, &folder.policies) {
                Ok(plan) => drop(folder.plans.insert(name, plan)),
                Err(all) => wrong.extend(all),
            }
        }
        if wrong.is_empty() { Ok(folder) } else { Err(refused(wrong)) }
    }

    /// What is wrong with the part of a request at `pointer`, in the file that it came from.
    pub fn wrong(&self, pointer: &str, detail: &str) -> Option<Wrong> {
        let mut parts = pointer.splitn(4, '/').skip(1);
        let (kind, name) = (parts.next()?, parts.next()?.parse::<Name>().ok()?);
        let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
        if kind == POLICIES {
            return Some(self.policies.get(&name)?.document.wrong(&rest, detail));
        }
        let plan = self.plans.get(&name).filter(|_| kind == PLANS)?;
        if let Some((index, of_settings)) = rest.strip_prefix("/terms/").and_then(|rest| rest.split_once('/'))
            && let Some(in_settings) = of_settings.strip_prefix("settings")
            && let Some(file) =
                index.parse::<usize>().ok().and_then(|n| plan.terms.get(n)?.settings_file.as_ref())
            && !plan.document.has(&rest)
        {
            // Of a case file, it is the table `settings`.
            let table = if file.has("/settings") { "/settings" } else { "" };
            return Some(file.wrong(&format!("{table}{in_settings}"), detail));
        }
        Some(plan.document.wrong(&rest, detail))
    }
}

/// The files of a folder by the name that each has, which is that of the thing.
fn documents(folder: &Path, wrong: &mut Vec<Wrong>) -> Result<BTreeMap<Name, Document>, Error> {
    let mut found: BTreeMap<Name, Document> = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder))? {
        paths.push(entry.map_err(Error::file(folder))?.path());
    }
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !path.is_file() || !matches!(extension, "toml" | "json") {
            continue;
        }
        let mut refuse =
            |detail: &str| wrong.push(Wrong { place: path.display().to_string(), detail: detail.to_owned() });
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<Name>().ok());
        let Some(name) = name else {
            refuse("its name is no name of a plan or policy: letters, digits, _ . : -");
            continue;
        };
        if found.contains_key(&name) {
            refuse("is there as TOML and as JSON: keep one of them");
            continue;
        }
        match Document::read(&path) {
            Ok(document) => drop(found.insert(name, document)),
            Err(one) => wrong.push(one),
        }
    }
    Ok(found)
}

fn known<T: DeserializeOwned>(document: &Document) -> Result<T, Wrong> {
    if document.value.is_object() { document.of() } else { Err(document.wrong("", "must be an object")) }
}

fn module(document: &Document, pointer: &str, text: Option<&str>) -> Result<Option<Module>, Wrong> {
    text.map(|text| text.parse::<Module>().map_err(|detail| document.wrong(pointer, &detail))).transpose()
}

fn policy(document: Document) -> Result<Policy, Wrong> {
    let file: PolicyFile = known(&document)?;
    let module = module(&document, "/module", file.module.as_deref())?;
    Ok(Policy { document, module })
}

fn plan(document: Document, policies: &BTreeMap<Name, Policy>) -> Result<Plan, Vec<Wrong>> {
    let file: PlanFile = known(&document).map_err(|wrong| vec![wrong])?;
    let (mut terms, mut wrong) = (Vec::new(), Vec::new());
    for (n, entry) in file.terms.into_iter().flatten().enumerate() {
        match one_terms(&document, n, entry, policies) {
            Ok(one) => terms.push(one),
            Err(one) => wrong.push(one),
        }
    }
    if wrong.is_empty() { Ok(Plan { document, terms }) } else { Err(wrong) }
}

fn one_terms(
    document: &Document,
    n: usize,
    entry: TermsEntry,
    policies: &BTreeMap<Name, Policy>,
) -> Result<Terms, Wrong> {
    let place = format!("/terms/{n}");
    let TermsEntry { policy, version, module: named, settings_file, settings, .. } = entry;
    if version.is_some() && named.is_some() {
        return Err(
            document.wrong(&format!("{place}/module"), "names the version a second time: leave one out")
        );
    }
    let mut module_in = document.path.clone();
    let mut module = module(document, &format!("{place}/module"), named.as_deref())?;
    if module.is_none()
        && version.is_none()
        && let Some(policy) = policies.get(&policy)
    {
        module.clone_from(&policy.module);
        module_in.clone_from(&policy.document.path);
    }
    let mut whole = Settings(settings.unwrap_or_else(|| Value::Object(Map::new())));
    let mut file = None;
    if let Some(named) = settings_file {
        let pointer = format!("{place}/settings_file");
        let path = document.beside(&named);
        if !path.is_file() {
            let detail = format!("there is no {}; it is looked for beside this file", path.display());
            return Err(document.wrong(&pointer, &detail));
        }
        let below = settings::read(&path).map_err(|error| document.wrong(&pointer, &error.to_string()))?;
        whole = Settings(below).with(&whole);
        file = Some(Document::read(&path)?);
    }
    Ok(Terms { policy, module, module_in, settings: whole.0, settings_file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Result<(tempfile::TempDir, Folder), String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let said = |error: Error| error.to_string().replace(&format!("{}/", dir.path().display()), "");
        Folder::read(dir.path()).map_err(said).map(|folder| (dir, folder))
    }

    #[test]
    fn settings_come_from_a_file_with_others_laid_over_them() {
        let plan = "[[terms]]\npolicy = \"standard\"\nsettings_file = \"../settings/base.toml\"\n\
                    [terms.settings]\nminimum_charge = \"1\"\n";
        let files = [
            ("plans/pro.toml", plan),
            ("settings/base.toml", "minimum_charge = \"0\"\nrounding = \"down\"\n"),
            ("policies/standard.toml", "module = \"standard.wasm\"\n"),
        ];
        let (dir, folder) = folder(&files).unwrap();
        let terms = &folder.plans[&"pro".parse().unwrap()].terms[0];
        assert_eq!(terms.settings, serde_json::json!({"minimum_charge": "1", "rounding": "down"}));
        assert_eq!(terms.module, Some(Module::Path("standard.wasm".to_owned())));
        assert!(terms.module_in.ends_with("policies/standard.toml"));
        // An error is told where the field stands.
        let place = |pointer: &str| {
            let place = folder.wrong(pointer, "x").unwrap().place;
            place.replace(&format!("{}/", dir.path().display()), "")
        };
        assert_eq!(place("/plans/pro/terms/0/settings/minimum_charge"), "plans/pro.toml:5");
        assert_eq!(place("/plans/pro/terms/0/settings/rounding"), "plans/../settings/base.toml:2");
        assert_eq!(place("/policies/standard/description"), "policies/standard.toml");
        assert!(folder.wrong("/plans/other", "x").is_none() && folder.wrong("", "x").is_none());
    }

    #[test]
    fn all_that_is_wrong_is_named_with_file_and_line() {
        let terms = |more: &str| format!("[[terms]]\npolicy = \"standard\"\n{more}\n");
        for (files, said) in [
            (
                vec![("plans/a.toml", "name = \"A\"\nintervall = \"month\"\n".to_owned())],
                "plans/a.toml:2: intervall: unknown field `intervall`",
            ),
            (
                vec![("plans/a.toml", "interval = \"moth\"\n".to_owned())],
                "plans/a.toml:1: interval: unknown variant `moth`",
            ),
            (
                vec![("plans/a.toml", terms("version = 1\nmodule = \"x.wasm\""))],
                "plans/a.toml:4: terms.0.module: names the version a second time",
            ),
            (
                vec![("plans/a.toml", terms("settings_file = \"none.toml\""))],
                "plans/a.toml:3: terms.0.settings_file: there is no ",
            ),
            (
                vec![("plans/a.toml", terms("module = \"sha256:1\""))],
                "plans/a.toml:3: terms.0.module: is no SHA-256",
            ),
            (vec![("plans/a b.toml", String::new())], "plans/a b.toml: its name is no name"),
            (vec![("plans/a.toml", "x\n".to_owned())], "plans/a.toml:1: "),
            (
                vec![("plans/a.toml", String::new()), ("plans/a.json", "{}".to_owned())],
                "is there as TOML and as JSON",
            ),
            (
                vec![("policies/p.toml", "resource_class = \"huge\"\n".to_owned())],
                "policies/p.toml:1: resource_class: unknown variant `huge`",
            ),
            (vec![("x/a.toml", String::new())], "has no folder plans and none policies"),
        ] {
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            let error = folder(&files).unwrap_err();
            assert!(error.contains(said), "{said}\n{error}");
        }
        let both = [("plans/a.toml", "x = 1\n"), ("plans/b.toml", "y = 1\n")];
        let error = folder(&both).unwrap_err();
        assert!(
            error.contains("plans/a.toml:1: x: ")
                && error.contains("\n")
                && error.contains("plans/b.toml:1: y: "),
            "{error}"
        );
    }
}
