//! JSON Schemas of files that people write, from the very types that read them, for editors that complete and check.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

/// Where utoipa looks for named schemas, and where JSON Schema does.
const COMPONENTS: &str = "#/components/schemas/";
pub const DEFINITIONS: &str = "#/$defs/";

/// The schema of a type, under a title. `more` are schemas that are named only within a form that utoipa does not look into.
pub fn of<T: ToSchema>(title: &str, more: Vec<(String, RefOr<Schema>)>) -> Result<Value, serde_json::Error> {
    let mut named = Vec::new();
    T::schemas(&mut named);
    named.extend(more);
    let named: BTreeMap<String, RefOr<Schema>> = named.into_iter().collect();
    let mut schema = serde_json::to_value(T::schema())?;
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!(title));
        object.insert("$defs".to_owned(), serde_json::to_value(named)?);
    }
    rename(&mut schema);
    Ok(schema)
}

fn rename(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(COMPONENTS) {
                *text = format!("{DEFINITIONS}{name}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rename),
        Value::Object(fields) => fields.values_mut().for_each(rename),
        _ => {}
    }
}
