//! A file of a folder of terms: TOML, or JSON for what TOML can't say, with the lines of its fields.

use crate::{error::Error, verbs::policy::settings};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A file as it was read.
#[derive(Debug, Default)]
pub struct Document {
    /// Where it lies, as it was named.
    pub path: PathBuf,
    /// What it holds. Times are text.
    pub value: Value,
    /// The line of each field and item, by JSON pointer; empty for JSON.
    lines: BTreeMap<String, usize>,
}

/// Something wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The file, and the line where it is known.
    pub place: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// All that is wrong, as one error.
pub fn refused(mut all: Vec<Wrong>) -> Error {
    let first = if all.is_empty() { None } else { Some(all.remove(0)) };
    let Some(Wrong { place, mut detail }) = first else {
        return Error::Server("nothing was said".to_owned());
    };
    for Wrong { place, detail: more } in all {
        detail.push_str(&format!("\n{place}: {more}"));
    }
    Error::Content { path: place.into(), detail }
}

impl Document {
    /// Reads a file, by its extension.
    pub fn read(path: &Path) -> Result<Self, Wrong> {
        let wrong = |detail: String| Wrong { place: path.display().to_string(), detail };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        if path.extension().is_some_and(|extension| extension == "json") {
            let value = serde_json::from_str(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
            return Ok(Self { path: path.to_owned(), value, lines: BTreeMap::new() });
        }
        Self::toml(path, &text)
    }

    /// Reads TOML.
    pub fn toml(path: &Path, text: &str) -> Result<Self, Wrong> {
        let at = |offset: Option<usize>, detail: String| {
            let line = offset.map(|offset| format!(":{}", line_of(text, offset))).unwrap_or_default();
            Wrong { place: format!("{}{line}", path.display()), detail }
        };
        let malformed =
            |error: toml::de::Error| at(error.span().map(|span| span.start), error.message().to_owned());
        let table: toml::Table = toml::from_str(text).map_err(malformed)?;
        let value = settings::json(toml::Value::Table(table)).map_err(|detail| at(None, detail))?;
        let spanned = DeTable::parse(text).map_err(malformed)?;
        let mut lines = BTreeMap::new();
        note_lines(spanned.get_ref(), "", text, &mut lines);
        Ok(Self { path: path.to_owned(), value, lines })
    }

    /// What it holds, as a type that knows its fields.
    pub fn of<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        serde_path_to_error::deserialize(&self.value).map_err(|error| {
            let mut pointer = String::new();
            for segment in error.path() {
                match segment {
                    Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                    Segment::Map { key } => pointer.push_str(&format!("/{}", escaped(key))),
                    Segment::Enum { .. } | Segment::Unknown => {}
                }
            }
            self.wrong(&pointer, &error.inner().to_string())
        })
    }

    /// Something wrong with the field at `pointer`.
    pub fn wrong(&self, pointer: &str, detail: &str) -> Wrong {
        let line = self.line(pointer).map(|line| format!(":{line}")).unwrap_or_default();
        let field = pointer.trim_start_matches('/').replace('/', ".");
        let field = if field.is_empty() { field } else { format!("{field}: ") };
        Wrong { place: format!("{}{line}", self.path.display()), detail: format!("{field}{detail}") }
    }

    /// Whether the file itself has this field.
    pub fn has(&self, pointer: &str) -> bool {
        self.value.pointer(pointer).is_some()
    }

    /// The line of a field, or of what it would stand in.
    fn line(&self, pointer: &str) -> Option<usize> {
        let mut rest = pointer;
        loop {
            if let Some(line) = self.lines.get(rest) {
                return Some(*line);
            }
            rest = rest.rsplit_once('/')?.0;
        }
    }

    /// A path that the file names: it is meant beside the file.
    pub fn beside(&self, named: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(named)
    }
}

/// A name as a part of a JSON pointer.
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn note_lines(table: &DeTable<'_>, place: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let pointer = format!("{place}/{}", escaped(key.get_ref()));
        lines.insert(pointer.clone(), line_of(text, key.span().start));
        note_value(value, &pointer, text, lines);
    }
}

fn note_value(value: &Spanned<DeValue<'_>>, place: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    match value.get_ref() {
        DeValue::Table(table) => note_lines(table, place, text, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{place}/{index}");
                lines.insert(pointer.clone(), line_of(text, item.span().start));
                note_value(item, &pointer, text, lines);
            }
        }
        _ => {}
    }
}

/// Counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_lines() {
        let text = "name = \"Pro\"\n\n[entitlements.\"a/b\"]\ntype = \"metered\"\n\n[[terms]]\npolicy = \"x\"\n\n[[terms]]\n\
                    policy = \"y\"\n[terms.settings]\nrates = [\n    { price = 1 },\n    { price = 2 },\n]\n";
        let document = Document::toml(Path::new("pro.toml"), text).unwrap();
        for (pointer, line) in [
            ("/name", 1),
            ("/entitlements/a~1b/type", 4),
            ("/terms/0/policy", 7),
            ("/terms/1", 9),
            ("/terms/1/policy", 10),
            ("/terms/1/settings/rates/1/price", 14),
            ("/terms/1/settings/rates/1/price/flat", 14),
            ("/terms/1/version", 9),
        ] {
            let wrong = document.wrong(pointer, "is wrong");
            assert_eq!(wrong.place, format!("pro.toml:{line}"), "{pointer}");
        }
        let wrong = Document::toml(Path::new("x.toml"), "a = 1\nb = \n").unwrap_err();
        assert_eq!(wrong.place, "x.toml:2");
    }
}
