//! A folder as a request: the modules that it names are looked for on the server, or sent to it, and become versions.

use super::{
    document::{Wrong, refused},
    folder::{Folder, Terms},
    format::Module,
};
use crate::{
    error::Error,
    terminal::{self, Paint},
    verbs::policy::{
        remote::client::{Asked, Client, segment},
        sign, source,
    },
};
use proviso_api::{
    apply::ApplyReport,
    policy::{Policy, PolicyVersion},
};
use proviso_ledger::model::ids::{Digest, Name};
use proviso_policy::{Limits, class_for};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A folder's request, and what of the folder it leaves out.
pub struct Request {
    /// The body, without `dry_run` and `prune`.
    body: Map<String, Value>,
    /// Modules that the server does not have, by policy.
    pub missing: BTreeSet<(Name, Digest)>,
    /// Plans whose terms need one of them, and are left out.
    pub waiting: BTreeSet<Name>,
}

/// The versions of policies that a server has, and the modules that files name.
struct Modules<'a> {
    client: &'a Client,
    /// Whether modules that the server does not have are sent to it.
    upload: Option<Signing<'a>>,
    policies: BTreeSet<Name>,
    versions: BTreeMap<Name, Vec<PolicyVersion<'static>>>,
    read: BTreeMap<PathBuf, (Digest, Vec<u8>)>,
    missing: BTreeSet<(Name, Digest)>,
}

/// How what is sent is signed.
#[derive(Clone, Copy)]
pub struct Signing<'a>(pub Option<&'a Path>);

impl Request {
    /// Makes it; with `upload`, modules that the server does not have are sent to it, which decides nothing until terms name them.
    pub fn of(folder: &Folder, client: &Client, upload: Option<Signing<'_>>) -> Result<Self, Error> {
        let policies: Vec<Policy<'static>> = client.all("/v1/policies")?;
        let mut modules = Modules {
            client,
            upload,
            policies: policies.into_iter().map(|policy| policy.policy).collect(),
            versions: BTreeMap::new(),
            read: BTreeMap::new(),
            missing: BTreeSet::new(),
        };
        let (mut plans, mut waiting, mut wrong) = (Map::new(), BTreeSet::new(), Vec::new());
        // What a policy's file names is there, whether or not terms name it.
        for (name, policy) in &folder.policies {
            let Some(module) = &policy.module else { continue };
            match modules.version(name, module, &policy.document.path)? {
                Ok(_) => {}
                Err(detail) => wrong.push(policy.document.wrong("/module", &detail)),
            }
        }
        for (name, plan) in &folder.plans {
            let mut fields = plan.document.value.as_object().cloned().unwrap_or_default();
            if fields.contains_key("terms") {
                let mut list = Some(Vec::new());
                for (n, terms) in plan.terms.iter().enumerate() {
                    let pointer = format!("/terms/{n}");
                    let entry = plan.document.value.pointer(&pointer).and_then(Value::as_object);
                    match modules.terms(entry.cloned().unwrap_or_default(), terms)? {
                        Ok(Some(entry)) => {
                            if let Some(list) = &mut list {
                                list.push(entry);
                            }
                        }
                        Ok(None) => list = None,
                        Err(detail) => {
                            wrong.push(plan.document.wrong(&format!("{pointer}/module"), &detail));
                        }
                    }
                }
                match list {
                    Some(list) => drop(fields.insert("terms".to_owned(), Value::Array(list))),
                    None => {
                        fields.remove("terms");
                        waiting.insert(name.clone());
                    }
                }
            }
            plans.insert(name.to_string(), Value::Object(fields));
        }
        if !wrong.is_empty() {
            return Err(refused(wrong));
        }
        let said = folder.policies.iter().map(|(name, policy)| {
            let mut fields = policy.document.value.as_object().cloned().unwrap_or_default();
            fields.remove("module");
            (name.to_string(), Value::Object(fields))
        });
        let said: Map<String, Value> = said.filter(|(_, fields)| fields != &json!({})).collect();
        let mut body = Map::new();
        body.insert("plans".to_owned(), Value::Object(plans));
        body.insert("policies".to_owned(), Value::Object(said));
        Ok(Self { body, missing: modules.missing, waiting })
    }

    /// Asks the server what would change.
    pub fn dry_run(
        &self,
        folder: &Folder,
        client: &Client,
        prune: bool,
    ) -> Result<ApplyReport<'static>, Error> {
        self.send(folder, client, prune, true, &[])
    }

    /// Has the server make these changes, or none; none means that others would be made.
    pub fn apply(
        &self,
        folder: &Folder,
        client: &Client,
        prune: bool,
        digest: &str,
        key: &str,
    ) -> Result<ApplyReport<'static>, Error> {
        let headers = [("if-match", format!("\"{digest}\"")), ("idempotency-key", key.to_owned())];
        self.send(folder, client, prune, false, &headers)
    }

    fn send(
        &self,
        folder: &Folder,
        client: &Client,
        prune: bool,
        dry_run: bool,
        headers: &[(&str, String)],
    ) -> Result<ApplyReport<'static>, Error> {
        let mut body = self.body.clone();
        body.insert("prune".to_owned(), prune.into());
        body.insert("dry_run".to_owned(), dry_run.into());
        let body = Value::Object(body).to_string();
        match client.ask("/v1/apply", headers, body.as_bytes())? {
            Asked::Answered(report) => Ok(report),
            Asked::Refused { code, said, .. } if code == "changed_meanwhile" => Err(Error::Server(format!(
                "{said}\n  what would change is no longer what was shown: look at `proviso diff` again. Nothing was changed"
            ))),
            Asked::Refused { said, errors, .. } => {
                let wrong: Vec<Wrong> =
                    errors.iter().filter_map(|error| folder.wrong(&error.pointer, &error.detail)).collect();
                Err(if wrong.is_empty() { Error::Server(said) } else { refused(wrong) })
            }
        }
    }
}

impl Modules<'_> {
    /// Terms as the API takes them; none where the server does not have their module.
    fn terms(
        &mut self,
        mut entry: Map<String, Value>,
        terms: &Terms,
    ) -> Result<Result<Option<Value>, String>, Error> {
        entry.remove("module");
        entry.remove("settings_file");
        entry.insert("settings".to_owned(), terms.settings.clone());
        if let Some(module) = &terms.module {
            match self.version(&terms.policy, module, &terms.module_in)? {
                Ok(Some(version)) => drop(entry.insert("version".to_owned(), version.into())),
                Ok(None) => return Ok(Ok(None)),
                Err(detail) => return Ok(Err(detail)),
            }
        }
        Ok(Ok(Some(Value::Object(entry))))
    }

    /// The version that has a module; none where the server has no such. The inner error is of the file that names it.
    fn version(
        &mut self,
        policy: &Name,
        module: &Module,
        named_in: &Path,
    ) -> Result<Result<Option<u32>, String>, Error> {
        let (digest, path) = match module {
            Module::Digest(digest) => (*digest, None),
            Module::Path(named) => {
                let path = named_in.parent().unwrap_or(Path::new("")).join(named);
                if !path.exists() {
                    return Ok(Err(format!(
                        "there is no {}; it is looked for beside this file",
                        path.display()
                    )));
                }
                (self.read(&path)?, Some(path))
            }
        };
        let versions = self.versions(policy)?;
        // One that was deleted may still be in force.
        let found = versions.iter().filter(|version| version.digest == digest);
        if let Some(version) = found.max_by_key(|version| (!version.deleted, version.version)) {
            return Ok(Ok(Some(version.version)));
        }
        let Some(path) = path else {
            return Ok(Err(format!(
                "policy {policy} of the server has no {digest}: name the module's file, or upload it with `proviso policy push`"
            )));
        };
        let Some(Signing(key)) = self.upload else {
            self.missing.insert((policy.clone(), digest));
            return Ok(Ok(None));
        };
        let bytes = self.read.get(&path).map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        class_for(bytes, &Limits::default()).map_err(Error::Refused)?;
        let signature = key.map(|key| sign::signature(key, bytes)).transpose()?;
        let signature = signature.map(|signature| ("proviso-signature", signature.to_string()));
        let address = format!("/v1/policies/{}/versions", segment(policy.as_str()));
        let (_, version): (u16, PolicyVersion<'static>) =
            self.client.post_with(&address, "application/wasm", signature.as_slice(), bytes)?;
        let number = version.version;
        terminal::note(&format!("{} {policy} version {number}  {digest}", Paint::none().good("uploaded")));
        self.policies.insert(policy.clone());
        self.versions.entry(policy.clone()).or_default().push(version);
        Ok(Ok(Some(number)))
    }

    fn read(&mut self, path: &Path) -> Result<Digest, Error> {
        if let Some((digest, _)) = self.read.get(path) {
            return Ok(*digest);
        }
        let bytes = source::load(path)?;
        let digest = Digest::of(&bytes);
        self.read.insert(path.to_owned(), (digest, bytes));
        Ok(digest)
    }

    fn versions(&mut self, policy: &Name) -> Result<&[PolicyVersion<'static>], Error> {
        if !self.versions.contains_key(policy) {
            let path = format!("/v1/policies/{}/versions", segment(policy.as_str()));
            let all = if self.policies.contains(policy) { self.client.all(&path)? } else { Vec::new() };
            self.versions.insert(policy.clone(), all);
        }
        Ok(self.versions.get(policy).map_or(&[], Vec::as_slice))
    }
}
