//! Writes JSON as TOML: of each table first what fits into lines, then its tables. What TOML can't say (null, numbers beyond 64 bits) is
//! not written at all.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The longest line of an object, in bytes; a longer one becomes a table.
const LONGEST: usize = 110;

/// Fields in their order, as a document; none where TOML can't say them.
pub fn document(fields: &[(&str, &Value)]) -> Option<String> {
    let fields: Vec<(&str, &Value)> = fields.to_vec();
    let mut text = String::new();
    table(&mut text, "", &fields)?;
    Some(text)
}

fn table(text: &mut String, place: &str, fields: &[(&str, &Value)]) -> Option<()> {
    let is_top = place.is_empty();
    let mut later = Vec::new();
    for (name, value) in fields {
        let line = format!("{} = {}", key(name), inline(value)?);
        match value {
            Value::Object(inner) if !inner.is_empty() && (is_top || line.len() > LONGEST) => {
                later.push((*name, *value));
            }
            Value::Array(items) if is_top && is_of_tables(items) => later.push((*name, *value)),
            Value::Array(items) if line.len() > LONGEST => {
                let items = items.iter().map(inline).collect::<Option<Vec<String>>>()?;
                // Writing to a String does not fail.
                let _ = writeln!(text, "{} = [\n    {},\n]", key(name), items.join(",\n    "));
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    for (name, value) in later {
        let place = if is_top { key(name) } else { format!("{place}.{}", key(name)) };
        let headers: Vec<(String, &Map<String, Value>)> = match value {
            Value::Object(inner) => vec![(format!("[{place}]"), inner)],
            Value::Array(items) => items
                .iter()
                .map(|item| Some((format!("[[{place}]]"), item.as_object()?)))
                .collect::<Option<_>>()?,
            _ => return None,
        };
        for (header, inner) in headers {
            let _ = writeln!(text, "\n{header}");
            table(
                text,
                &place,
                &inner.iter().map(|(name, value)| (name.as_str(), value)).collect::<Vec<_>>(),
            )?;
        }
    }
    Some(())
}

fn is_of_tables(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(Value::is_object)
}

/// A value in one line.
fn inline(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) if number.is_i64() || number.is_f64() => number.to_string(),
        Value::Number(_) => return None,
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(name, value)| Some(format!("{} = {}", key(name), inline(value)?)));
            format!("{{ {} }}", fields.collect::<Option<Vec<_>>>()?.join(", "))
        }
    })
}

fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for one in text.chars() {
        match one {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            one if one.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(one));
            }
            one => quoted.push(one),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::policy::settings;
    use serde_json::json;

    fn written(value: &Value) -> Option<String> {
        let fields: Vec<(&str, &Value)> =
            value.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value)).collect();
        document(&fields)
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let long = "x".repeat(120);
        for value in [
            json!({}),
            json!({"a": 1, "b": "say \"hi\"\\\n\t\u{7f}\u{1}é", "c": true, "d": [1, "two", [3]], "e": {}, "f": [], "g": 0.5, "h": 1e300}),
            json!({"terms": [{"policy": "a", "settings": {"rates": [{"x": long, "y": {"z": [1]}}], "deep": {"long": long, "k": {}}}},
                             {"policy": "b", "settings": {}}], "interval": {"unit": "month", "count": 3}}),
            json!({"entitlements": {"a b/c": {"type": "static", "value": {"k": [{"n": 1}, 2]}}, "": {"type": "metered"}}, "name": "Zoë"}),
            json!({"list": [long, long], "mixed": [{"a": 1}, 2]}),
        ] {
            let text = written(&value).unwrap();
            let table: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(settings::json(toml::Value::Table(table)).unwrap(), value, "{text}");
        }
        assert_eq!(written(&json!({"a": [null]})), None);
        assert_eq!(written(&json!({"a": {"b": u64::MAX}})), None);
    }

    #[test]
    fn short_things_stand_in_lines() {
        let value = json!({"name": "Pro", "entitlements": {"chat": {"type": "metered"}},
                           "terms": [{"policy": "standard", "settings": {"rates": [{"price": {"flat": "1"}}]}}]});
        let expected = "name = \"Pro\"\n\n[entitlements]\nchat = { type = \"metered\" }\n\n[[terms]]\npolicy = \"standard\"\n\
                        settings = { rates = [{ price = { flat = \"1\" } }] }\n";
        let order = ["name", "entitlements", "terms"].map(|name| (name, &value[name]));
        assert_eq!(document(&order).unwrap(), expected);
    }
}
