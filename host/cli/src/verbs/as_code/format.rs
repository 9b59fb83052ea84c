//! The format of the files. The same types read them and make their JSON Schemas; `docs/terms-as-code.md` describes them.

use crate::json_schema;
use proviso_api::{
    any_json,
    canary::CanaryInput,
    entitlement::EntitlementValue,
    plan::{Interval, IntervalInput},
    plan_grant::{PlanGrant, Trial},
    schema as wire,
    terms::ContractInput,
};
use proviso_ledger::model::{
    ids::{Digest, Key, Name},
    resources::ResourceClass,
    terms::{Mode, OnFault},
    time::{Timestamp, Zone},
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, str::FromStr};
use utoipa::ToSchema;

/// `plans/NAME.toml`: the whole of a plan. What is left out is what it defaults to, not what the server has; but without `terms`, those
/// that the plan has stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "the server reads what is sent; here it is checked, so that errors come with their lines"
)]
pub struct PlanFile {
    /// For people; defaults to the plan's own name.
    pub name: Option<String>,
    /// How long its periods are: a unit such as `month`, or a unit and a count; without it, they never end by themselves. It is fixed
    /// once the plan exists.
    #[schema(value_type = Option<IntervalInput>)]
    pub interval: Option<Interval>,
    /// What its customers are entitled to, by feature.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, EntitlementValue>)]
    pub entitlements: BTreeMap<Key, EntitlementValue>,
    /// What it gives beside what its policy issues.
    #[serde(default)]
    pub grants: Vec<PlanGrant>,
    /// Its trial.
    pub trial: Option<Trial>,
    /// All terms that decide from now on: what is in force, what takes effect later, shadows and a canary.
    pub terms: Option<Vec<TermsEntry>>,
}

/// Terms.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "the server reads what is sent; here it is checked, so that errors come with their lines"
)]
pub struct TermsEntry {
    /// The policy.
    #[schema(value_type = wire::Name)]
    pub policy: Name,
    /// Its version, as this server counts; defaults to `module`.
    pub version: Option<u32>,
    /// Its module: the SHA-256, or a component's file or a policy crate's folder beside this file; defaults to the `module` of the policy's
    /// file, and without one to the newest version.
    pub module: Option<String>,
    /// A file of settings, JSON or TOML, beside this one; `settings` is laid over it.
    pub settings_file: Option<String>,
    /// The settings.
    #[serde(default, deserialize_with = "any_json::option")]
    #[schema(value_type = Option<wire::AnyObject>)]
    pub settings: Option<Value>,
    /// From when; defaults to when they are applied.
    #[schema(value_type = Option<wire::Time>)]
    pub effective_at: Option<Timestamp>,
    /// Until when, exclusive.
    #[schema(value_type = Option<wire::Time>)]
    pub ends_at: Option<Timestamp>,
    /// `active` decides, `shadow` is only recorded beside what decides; defaults to `active`.
    #[schema(value_type = Option<String>)]
    pub mode: Option<Mode>,
    /// What decides when the policy faults: `deny`, `plan` or `last_good`; defaults to `deny`.
    #[schema(value_type = Option<String>)]
    pub on_fault: Option<OnFault>,
    /// The contract that they belong to.
    pub contract: Option<ContractInput>,
    /// The zone in which they are read; defaults to the customer's.
    #[schema(value_type = Option<wire::TimeZone>)]
    pub time_zone: Option<Zone>,
    /// A remark, for people.
    pub note: Option<String>,
    /// Makes them decide for a share of the plan's customers only.
    pub canary: Option<CanaryInput>,
}

/// `policies/NAME.toml`: what is said of a policy, and the module that terms mean which name none. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "the server reads what is sent; here it is checked, so that errors come with their lines"
)]
pub struct PolicyFile {
    /// For people.
    pub description: Option<String>,
    /// How much its versions may use: `small`, `default` or `large`. Only an admin's key changes it.
    #[schema(value_type = Option<String>)]
    pub resource_class: Option<ResourceClass>,
    /// The SHA-256 of a module that was uploaded, or a component's file or a policy crate's folder beside this file.
    pub module: Option<String>,
}

/// Which module is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module {
    /// One with this digest.
    Digest(Digest),
    /// One in a file, or the crate in a folder.
    Path(String),
}

impl FromStr for Module {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("sha256:") {
            let digest = text.parse::<Digest>();
            return digest
                .map(Self::Digest)
                .map_err(|_| "is no SHA-256: sha256: and 64 hex digits".to_owned());
        }
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Self::Path(text.to_owned())) }
    }
}

/// The JSON Schemas by the kind of file.
pub fn schemas() -> Result<[(&'static str, Value); 2], serde_json::Error> {
    Ok([
        ("plan", schema::<PlanFile>("A plan's file of proviso apply")?),
        ("policy", schema::<PolicyFile>("A policy's file of proviso apply")?),
    ])
}

fn schema<T: ToSchema>(title: &str) -> Result<Value, serde_json::Error> {
    let mut schema = json_schema::of::<T>(title, Vec::new())?;
    without_examples(&mut schema);
    Ok(schema)
}

/// Examples are data of the API, whose requests have other fields.
fn without_examples(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_examples),
        Value::Object(fields) => {
            fields.remove("example");
            fields.values_mut().for_each(without_examples);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::DEFINITIONS;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn references(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    /// The names that a refusal of an unknown field lists.
    fn known(error: &str) -> BTreeSet<String> {
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn fields(schema: &Value) -> BTreeSet<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn schemas_have_the_fields_that_are_taken_and_every_definition() {
        let [(_, plan), (_, policy)] = schemas().unwrap();
        let zzz = json!({ "zzz": 1 });
        let of_plan = serde_json::from_value::<PlanFile>(zzz.clone()).unwrap_err().to_string();
        let of_policy = serde_json::from_value::<PolicyFile>(zzz.clone()).unwrap_err().to_string();
        let of_terms = serde_json::from_value::<TermsEntry>(zzz).unwrap_err().to_string();
        assert_eq!(fields(&plan), known(&of_plan), "{of_plan}");
        assert_eq!(fields(&policy), known(&of_policy), "{of_policy}");
        assert_eq!(fields(&plan["$defs"]["TermsEntry"]), known(&of_terms), "{of_terms}");
        for schema in [&plan, &policy, &plan["$defs"]["TermsEntry"]] {
            assert_eq!(schema["additionalProperties"], false, "{schema:#}");
        }
        for schema in [plan, policy] {
            let mut found = BTreeSet::new();
            references(&schema, &mut found);
            for reference in found {
                let name = reference.strip_prefix(DEFINITIONS).unwrap_or_else(|| panic!("{reference}"));
                assert!(schema["$defs"][name].is_object(), "{reference} is not defined");
            }
        }
    }

    #[test]
    fn modules_are_digests_or_paths() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert!(matches!(digest.parse(), Ok(Module::Digest(_))));
        assert_eq!("../x.wasm".parse(), Ok(Module::Path("../x.wasm".to_owned())));
        for wrong in ["sha256:xyz", ""] {
            assert!(wrong.parse::<Module>().is_err(), "{wrong}");
        }
    }
}
