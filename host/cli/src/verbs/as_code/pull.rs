//! `proviso pull`: writes what a server has as the files of a folder, so that `proviso diff` of it finds nothing.

use super::{
    document::Document,
    folder::{PLANS, POLICIES},
    format, toml_text,
};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::remote::{
        Server,
        client::{Client, segment},
    },
};
use clap::Args;
use proviso_api::{
    plan::Plan,
    policy::{Policy, PolicyVersion},
    terms::Terms,
};
use proviso_ledger::model::{
    canary::Share,
    ids::{Digest, Name},
    resources::ResourceClass,
    terms::{Mode, OnFault},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The versions of policies.
type Versions = BTreeMap<Name, Vec<PolicyVersion<'static>>>;

/// Where the JSON Schemas lie.
const SCHEMAS: &str = ".schema";

/// What `pull` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The folder, which is made; files in it of what the server has are written anew
    dir: PathBuf,
    /// Only these plans, and the policies of their terms [default: all]
    #[arg(long, value_name = "NAME")]
    plan: Vec<Name>,
    #[command(flatten)]
    server: Server,
}

/// Pulls.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { dir, plan: wanted, server } = flags;
    let client = Client::new(&server.server)?;
    let mut plans: Vec<Plan<'static>> = client.all("/v1/plans")?;
    if let Some(unknown) = wanted.iter().find(|name| !plans.iter().any(|plan| plan.plan == **name)) {
        return Err(Error::Server(format!("{}: there is no plan {unknown}", server.server)));
    }
    plans.retain(|plan| wanted.is_empty() || wanted.contains(&plan.plan));
    let mut policies: Vec<Policy<'static>> = client.all("/v1/policies")?;
    if !wanted.is_empty() {
        let named: Vec<&Name> = plans.iter().flat_map(all_terms).map(|(terms, _)| &terms.policy).collect();
        policies.retain(|policy| named.contains(&&policy.policy));
    }
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut all_versions = Versions::new();
    for policy in &policies {
        let path = format!("/v1/policies/{}/versions", segment(policy.policy.as_str()));
        let versions: Vec<PolicyVersion<'static>> = client.all(&path)?;
        let fields = of_policy(policy, newest(&versions).map(|version| version.digest));
        all_versions.insert(policy.policy.clone(), versions);
        let (name, text) = file(POLICIES, &policy.policy, "policy", &fields)?;
        files.insert(name, text);
    }
    for plan in &plans {
        let fields = of_plan(plan, &all_versions)?;
        let (name, text) = file(PLANS, &plan.plan, "plan", &fields)?;
        files.insert(name, text);
    }
    for (kind, schema) in format::schemas().map_err(|error| Error::Server(error.to_string()))? {
        files.insert(Path::new(SCHEMAS).join(format!("{kind}.json")), format!("{schema:#}\n"));
    }
    write(dir, &files)?;
    let [plans, policies] = [plans.len(), policies.len()].map(|count| count as u64);
    let policies =
        if policies == 1 { "1 policy".to_owned() } else { format!("{} policies", terminal::count(policies)) };
    let text = format!(
        "{} {} and {policies} to {}\n",
        Paint::for_stdout().good("pulled"),
        terminal::plural(plans, "plan"),
        dir.display()
    );
    terminal::print(&text)?;
    Ok(Verdict::Fine)
}

/// A thing's file: TOML, or JSON for what TOML can't say.
fn file(folder: &str, name: &Name, kind: &str, fields: &[(&str, Value)]) -> Result<(PathBuf, String), Error> {
    let whole: Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let whole = Value::Object(whole);
    let borrowed: Vec<(&str, &Value)> = fields.iter().map(|(name, value)| (*name, value)).collect();
    let path = Path::new(folder).join(format!("{name}.toml"));
    if let Some(text) = toml_text::document(&borrowed) {
        let text = format!("#:schema ../{SCHEMAS}/{kind}.json\n\n{text}");
        // What is read again must be what was meant, to the last digit.
        if Document::toml(&path, &text).is_ok_and(|document| document.value == whole) {
            return Ok((path, text));
        }
    }
    Ok((with_ending(&path, "json"), format!("{whole:#}\n")))
}

/// The path with another ending. A name may consist of dots, of which `Path::with_extension` makes a folder.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    path.with_file_name(format!("{stem}.{ending}"))
}

/// Writes the files; one that is there under the other extension goes.
fn write(dir: &Path, files: &BTreeMap<PathBuf, String>) -> Result<(), Error> {
    for (name, text) in files {
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
        }
        fs::write(&path, text).map_err(Error::file(&path))?;
        if !name.starts_with(SCHEMAS) {
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            let other = with_ending(&path, if is_toml { "json" } else { "toml" });
            if other.is_file() {
                fs::remove_file(&other).map_err(Error::file(&other))?;
            }
        }
    }
    Ok(())
}

fn of_policy(policy: &Policy<'_>, newest: Option<Digest>) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("description", json!(policy.description))];
    if policy.resource_class != ResourceClass::default() {
        fields.push(("resource_class", json!(policy.resource_class)));
    }
    fields.extend(newest.map(|digest| ("module", json!(digest))));
    fields
}

/// All terms of a plan that decide now or will, with whether they begin later.
fn all_terms<'p>(plan: &'p Plan<'static>) -> impl Iterator<Item = (&'p Terms<'static>, bool)> {
    let Plan { terms, shadows, canary, scheduled, .. } = plan;
    let now = terms.iter().chain(shadows).map(|terms| (terms, false));
    // A canary may begin later, too; once it has, when it did does not matter.
    now.chain(scheduled.iter().chain(canary).map(|terms| (terms, true)))
}

fn of_plan(plan: &Plan<'static>, policies: &Versions) -> Result<Vec<(&'static str, Value)>, Error> {
    let mut fields = vec![("name", json_of(&plan.name)?)];
    if let Some(interval) = &plan.interval {
        // One unit has a short form.
        let value = if interval.count == 1 { json_of(&interval.unit)? } else { json_of(interval)? };
        fields.push(("interval", value));
    }
    if !plan.entitlements.is_empty() {
        fields.push(("entitlements", json_of(&plan.entitlements)?));
    }
    if !plan.grants.is_empty() {
        fields.push(("grants", without_nulls(json_of(&plan.grants)?)));
    }
    if let Some(trial) = &plan.trial {
        fields.push(("trial", without_nulls(json_of(trial)?)));
    }
    let mut list = Vec::new();
    for (terms, is_later) in all_terms(plan) {
        list.push(of_terms(terms, is_later, policies.get(&terms.policy).map_or(&[], Vec::as_slice))?);
    }
    if !list.is_empty() {
        fields.push(("terms", Value::Array(list)));
    }
    Ok(fields)
}

fn of_terms(terms: &Terms<'_>, is_later: bool, versions: &[PolicyVersion<'_>]) -> Result<Value, Error> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("policy", json_of(&terms.policy)?);
    // The newest version's module stands in the policy's file.
    if newest(versions).is_none_or(|newest| newest.version != terms.version) {
        let same = versions.iter().filter(|version| version.digest == terms.digest);
        match same.max_by_key(|version| (!version.deleted, version.version)) {
            Some(version) if version.version == terms.version => put("module", json_of(&terms.digest)?),
            _ => put("version", json_of(&terms.version)?),
        }
    }
    if is_later {
        put("effective_at", json_of(&terms.effective_at)?);
    }
    if let Some(ends_at) = &terms.ends_at {
        put("ends_at", json_of(ends_at)?);
    }
    if terms.mode != Mode::default() {
        put("mode", json_of(&terms.mode)?);
    }
    if terms.on_fault != OnFault::default() {
        put("on_fault", json_of(&terms.on_fault)?);
    }
    if let Some(contract) = &terms.contract {
        put("contract", without_nulls(json_of(contract)?));
    }
    if let Some(zone) = &terms.time_zone {
        put("time_zone", json_of(zone)?);
    }
    if let Some(note) = &terms.note {
        put("note", json_of(note)?);
    }
    // One that decides for all is no canary any more.
    if let Some(canary) = terms.canary.as_ref().filter(|canary| canary.share_percent != Share::ALL) {
        let rollback = canary.rollback.as_ref().map(json_of).transpose()?;
        put("canary", without_nulls(json!({ "share_percent": canary.share_percent, "rollback": rollback })));
    }
    let settings: Value = serde_json::from_str(terms.settings.as_str())
        .map_err(|error| Error::Server(format!("settings of {}: {error}", terms.key)))?;
    if settings != json!({}) {
        put("settings", settings);
    }
    Ok(Value::Object(fields))
}

fn newest<'v, 'p>(versions: &'v [PolicyVersion<'p>]) -> Option<&'v PolicyVersion<'p>> {
    versions.iter().rev().find(|version| !version.deleted)
}

fn json_of(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::Server(error.to_string()))
}

/// Fields that are null say the same as absent ones, here.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dots_have_files_of_their_own() {
        for (toml, json) in [
            ("plans/pro.toml", "plans/pro.json"),
            ("plans/pro.v2.toml", "plans/pro.v2.json"),
            ("plans/..toml", "plans/..json"),
            ("plans/...toml", "plans/...json"),
        ] {
            assert_eq!(with_ending(Path::new(toml), "json"), Path::new(json));
            assert_eq!(with_ending(Path::new(json), "toml"), Path::new(toml));
        }
    }
}
