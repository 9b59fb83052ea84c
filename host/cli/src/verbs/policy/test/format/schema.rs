//! The JSON Schema of case files, from the very types that read them, for editors that complete and check.

use super::CaseFile;
use crate::json_schema;
use proviso_api::{schema as wire, usage::Usage};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// The schema of a case file.
pub fn of_case_files() -> Result<Value, serde_json::Error> {
    let allowance = (AllowanceName::name().into_owned(), AllowanceName::schema());
    json_schema::of::<CaseFile>("Case file of proviso policy test", vec![allowance])
}

/// A value that is written in one of several ways.
macro_rules! one_of {
    ($($(#[doc = $doc:literal])* $name:ident { $($item:expr),+ $(,)? })+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                utoipa::openapi::OneOfBuilder::new()
                    .description(Some(concat!($($doc, " "),*).trim()))
                    $(.item($item))+
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

fn text() -> utoipa::openapi::ObjectBuilder {
    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String)
}

fn names(names: &[&str]) -> utoipa::openapi::ObjectBuilder {
    text().enum_values(Some(names.iter().copied()))
}

fn whole() -> utoipa::openapi::ObjectBuilder {
    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Integer).minimum(Some(0))
}

/// How long a period is, and of how many units.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it only stands for the ledger's own type in the schema")]
pub struct IntervalParts {
    unit: String,
    count: u32,
}

/// Another plan, and how its allowance is reduced by what was given in the cycle.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it only stands for the step's own type in the schema")]
pub struct PlanParts {
    to: String,
    #[schema(value_type = Option<AllowanceName>)]
    allowance: Option<String>,
}

one_of! {
    /// How long a period is: a unit, several of one, or `none`.
    IntervalForm { names(&["hour", "day", "week", "month", "quarter", "year", "none"]), IntervalParts::schema() }
    /// What decides when the policy fails.
    OnFaultName { names(&["deny", "plan", "last_good"]) }
    /// Whether terms decide.
    ModeName { names(&["active", "shadow"]) }
    /// How an allowance is reduced.
    AllowanceName { names(&["carry", "prorate", "full"]) }
    /// What a grant is.
    CategoryName {
        names(&["plan", "trial", "prepaid", "promotional", "top_up", "contract", "rollover", "adjustment"]),
    }
    /// A plan, or `none`.
    PlanForm { text(), PlanParts::schema() }
    /// The number of a period, or `no`.
    LateForm { names(&["no"]), whole() }
    /// A value of a row; `-` leaves its column out.
    Cell {
        text(),
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Integer),
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Boolean),
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Array),
        utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::Object),
    }
}

/// A usage: the body of the API's charge.
pub enum UsageForm {}

/// A usage for which credits are set aside: the body of the API's charge, `as` and `ttl`.
pub enum ReserveForm {}

/// What a reservation came to: the body of the API's commit, and which reservation.
pub enum CommitForm {}

/// The schema of a body of the API with other fields beside its own, and without its example.
fn body(
    schema: RefOr<Schema>,
    more: impl IntoIterator<Item = (&'static str, utoipa::openapi::ObjectBuilder)>,
    required: &[&str],
) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else { return schema };
    for (name, schema) in more {
        object.properties.insert(name.to_owned(), RefOr::T(Schema::Object(schema.build())));
    }
    object.required = required.iter().map(|name| (*name).to_owned()).collect();
    object.example = None;
    object.into()
}

macro_rules! bodies {
    ($($name:ident: $body:expr;)+) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $body
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                Usage::schemas(schemas);
                schemas.push((wire::Time::name().into_owned(), wire::Time::schema()));
            }
        }
    )+};
}

bodies! {
    UsageForm: body(Usage::schema(), [], &["feature"]);
    ReserveForm: body(Usage::schema(), [("as", text()), ("ttl", text())], &["as", "feature"]);
    CommitForm: body(
        proviso_api::usage::ActualUsage::schema(),
        [("reservation", text())],
        &["reservation"],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_schema::DEFINITIONS;
    use std::collections::BTreeSet;

    /// A table of the format by its definition (none is the file itself), and a file with `@` in the place of its fields.
    const TABLES: [(Option<&str>, &str); 21] = [
        (None, "@"),
        (Some("Case"), "[[case]]\n@"),
        (Some("Table"), "[[table]]\n@"),
        (Some("Properties"), "[properties]\n@"),
        (Some("PlanSetup"), "[plans.pro]\n@"),
        (Some("CustomerSetup"), "[customers.beta]\n@"),
        (Some("Step"), "[[case]]\nname = \"x\"\nsteps = [{ @ }]"),
        (Some("Expect"), "[[case]]\nname = \"x\"\nsteps = [{ expect = { @ } }]"),
        (Some("ExpectBalance"), "[[case]]\nname = \"x\"\nsteps = [{ expect.balance = { @ } }]"),
        (Some("UsageForm"), "[[case]]\nname = \"x\"\nsteps = [{ charge = { @ } }]"),
        (Some("UsageForm"), "[[case]]\nname = \"x\"\nsteps = [{ check = { @ } }]"),
        (Some("ReserveForm"), "[[case]]\nname = \"x\"\nsteps = [{ reserve = { @ } }]"),
        (Some("ExtendStep"), "[[case]]\nname = \"x\"\nsteps = [{ extend = { @ } }]"),
        (Some("CommitForm"), "[[case]]\nname = \"x\"\nsteps = [{ commit = { @ } }]"),
        (Some("GrantStep"), "[[case]]\nname = \"x\"\nsteps = [{ grant = { @ } }]"),
        (Some("ResetStep"), "[[case]]\nname = \"x\"\nsteps = [{ reset = { @ } }]"),
        (Some("TermsStep"), "[[case]]\nname = \"x\"\nsteps = [{ terms = { @ } }]"),
        (Some("ContractSetup"), "[[case]]\nname = \"x\"\nsteps = [{ terms.contract = { @ } }]"),
        (Some("CustomerStep"), "[[case]]\nname = \"x\"\nsteps = [{ customer = { @ } }]"),
        (Some("CloseCustomerStep"), "[[case]]\nname = \"x\"\nsteps = [{ close_customer = { @ } }]"),
        (Some("IntervalParts"), "[customer.interval]\n@"),
    ];

    /// The names between backticks.
    fn quoted(text: &str) -> BTreeSet<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn names<'a>(values: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        values.into_iter().cloned().collect()
    }

    #[test]
    fn every_table_has_the_fields_that_the_parser_takes() {
        let schema = of_case_files().unwrap();
        for (name, file) in TABLES {
            let table = match name {
                None => &schema,
                Some("IntervalParts") => &schema["$defs"]["IntervalForm"]["oneOf"][1],
                Some(name) => &schema["$defs"][name],
            };
            let properties = table["properties"].as_object();
            let known = names(properties.iter().flat_map(|properties| properties.keys()));
            let required: BTreeSet<String> = table["required"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| name.as_str().unwrap().into())
                .collect();
            assert_eq!(table["additionalProperties"], false, "{name:?}: {table:#}");
            let said = |fields: &str| {
                let read: Result<CaseFile, _> = toml::from_str(&file.replace('@', fields));
                read.err().map(|error| error.message().to_owned()).unwrap_or_default()
            };
            // An interval is one of several forms, and tells none of their fields.
            if name == Some("IntervalParts") {
                assert_eq!(known, names(&["count".to_owned(), "unit".to_owned()]));
                assert!(
                    said("unit = \"month\"\ncount = 3").is_empty()
                        && !said("unit = \"month\"\nzzz = 3").is_empty()
                );
                continue;
            }
            // What forms take beside the API's body is split off before the body is read.
            let own: &[&str] = match name {
                Some("ReserveForm") => &["as", "ttl"],
                Some("CommitForm") => &["reservation"],
                _ => &[],
            };
            let given: String =
                own.iter().filter(|name| **name != "ttl").map(|name| format!("{name} = \"r\", ")).collect();
            let refusal = said(&format!("{given}zzz = 1"));
            let mut taken = quoted(&refusal);
            assert!(taken.remove("zzz"), "{name:?}: {refusal}");
            taken.extend(own.iter().map(|name| (*name).to_owned()));
            assert_eq!(known, taken, "{name:?}: the schema on the left, the parser on the right");
            let missing = said(&given);
            match quoted(&missing).first().filter(|_| missing.starts_with("missing field")) {
                Some(field) => assert!(required.contains(field), "{name:?} needs {field}"),
                None => assert!(
                    required.iter().all(|field| own.contains(&&**field)),
                    "{name:?} needs {required:?}"
                ),
            }
        }
    }

    /// Enough of JSON Schema for what stands in this one; an error names the place.
    fn validate(schema: &Value, root: &Value, value: &Value, place: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix(DEFINITIONS).unwrap();
            let definition = root["$defs"].get(name).unwrap_or_else(|| panic!("{reference} is not defined"));
            return validate(definition, root, value, place);
        }
        if let Some(options) = schema["oneOf"].as_array() {
            let fits = |option: &&Value| validate(option, root, value, place).is_ok();
            return match options.iter().filter(fits).count() {
                1 => Ok(()),
                count => Err(format!("{place}: {count} forms fit {value}")),
            };
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            validate(part, root, value, place)?;
        }
        let types = match &schema["type"] {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.is_empty() && !types.contains(&found) {
            return Err(format!("{place}: is {found}, not {types:?}"));
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            return Err(format!("{place}: is {value}, none of {allowed:?}"));
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(required).is_none() {
                return Err(format!("{place}: has no {required}"));
            }
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let place = format!("{place}/{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => validate(schema, root, field, &place)?,
                (None, Value::Bool(false)) => return Err(format!("{place}: is not known")),
                (None, Value::Object(_)) => {
                    validate(&schema["additionalProperties"], root, field, &place)?;
                }
                _ => {}
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            validate(&schema["items"], root, item, &format!("{place}/{index}"))?;
        }
        Ok(())
    }

    /// The definitions that a schema names.
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

    #[test]
    fn every_definition_that_is_named_is_there() {
        let schema = of_case_files().unwrap();
        let mut found = BTreeSet::new();
        references(&schema, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let name = reference.strip_prefix(DEFINITIONS).unwrap_or_else(|| panic!("{reference}"));
            assert!(schema["$defs"].get(name).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_case_files_that_ship_are_of_the_schema() {
        let schema = of_case_files().unwrap();
        let check = |text: &str| {
            let table: toml::Table = toml::from_str(text).unwrap();
            let value = crate::verbs::policy::settings::json(toml::Value::Table(table)).unwrap();
            validate(&schema, &schema, &value, "")
        };
        let mut seen = 0;
        let manifest = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["../../policies", "src/verbs/policy/new/templates"] {
            for policy in std::fs::read_dir(manifest.join(folder)).unwrap() {
                let policy = policy.unwrap().path();
                let cases = [policy.join("cases"), policy.clone()];
                for path in cases.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten()) {
                    let path = path.unwrap().path();
                    let is_cases = path.extension().is_some_and(|extension| extension == "toml");
                    if is_cases && path.file_name().is_some_and(|name| name != "Cargo.toml") {
                        check(&std::fs::read_to_string(&path).unwrap())
                            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                        seen += 1;
                    }
                }
            }
        }
        assert!(seen >= 12, "{seen} files");
        for (wrong, said) in [
            ("[[case]]\nname = \"x\"\nsteps = [{ chargge = {} }]", "/case/0/steps/0/chargge: is not known"),
            ("[[case]]\nname = \"x\"\nsteps = [{ expect.cost = 1 }]", "/case/0/steps/0/expect/cost: "),
            ("[[case]]\nsteps = []", "/case/0: has no name"),
            ("[[table]]\nname = \"t\"\nrows = []", "/table/0: has no columns"),
            ("customer.interval = \"fortnight\"", "/customer/interval: 0 forms fit"),
        ] {
            let error = check(wrong).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
