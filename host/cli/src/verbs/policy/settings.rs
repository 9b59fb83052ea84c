//! Settings of a policy in a file: JSON, or TOML as case files have it.

use crate::error::Error;
use serde_json::Value;
use std::{fs, path::Path};

/// The settings in a file. Of TOML with a table `settings`, such as a case file, it is that table.
pub fn read(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(Error::file(path))?;
    if path.extension().is_some_and(|extension| extension == "toml") {
        toml_settings(&text).map_err(Error::content(path))
    } else {
        serde_json::from_str(&text).map_err(|error| {
            let detail = format!("is no JSON: {error} (settings in TOML have a name that ends with .toml)");
            Error::Content { path: path.to_owned(), detail }
        })
    }
}

fn toml_settings(text: &str) -> Result<Value, String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let settings = match table.remove("settings") {
        Some(toml::Value::Table(settings)) => settings,
        Some(other) => {
            table.insert("settings".to_owned(), other);
            table
        }
        None => table,
    };
    json(toml::Value::Table(settings))
}

/// TOML as the JSON that it stands for. Times become text.
pub fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => {
            let number = serde_json::Number::from_f64(number);
            Value::Number(number.ok_or("settings hold no infinity and nothing that is not a number")?)
        }
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((name, json(value)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_json_or_toml_alone_or_in_a_case_file() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            read(&path).map_err(|error| error.to_string())
        };
        let expected = json!({"price": "1", "since": "2026-01-01T00:00:00Z"});
        let toml = "price = \"1\"\nsince = 2026-01-01T00:00:00Z\n";
        assert_eq!(settings("a.json", &expected.to_string()).unwrap(), expected);
        assert_eq!(settings("a.toml", toml).unwrap(), expected);
        assert_eq!(settings("b.toml", &format!("start = 2026-01-01\n[settings]\n{toml}")).unwrap(), expected);
        assert!(settings("b.json", toml).unwrap_err().contains("b.json: is no JSON"));
        assert!(settings("c.toml", "price = ").unwrap_err().contains("c.toml: "));
    }
}
