//! `proviso policy inspect`: says what a module is, how large it is, what it says of itself, and whether it passes the checks of
//! an upload.

use super::{limits, runtime, source};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint, bytes, count},
};
use clap::Args;
use proviso_decide::policy::Policy as _;
use proviso_ledger::model::{answers::Manifest, ids::Digest, json::JsonText, resources::ResourceClass};
use proviso_policy::{PolicyError, Rejection, Shape, class_for};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf};
use wasmparser::{ComponentTypeRef, Parser, Payload};

/// What `policy inspect` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// A component, or the folder of a policy crate, which is built
    file: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What was found.
struct Inspection {
    digest: Digest,
    size_bytes: u64,
    imports: Vec<String>,
    exports: Vec<String>,
    admitted: Result<Admitted, Rejection>,
}

struct Admitted {
    /// The least that takes it, of default and large.
    class: ResourceClass,
    manifest: Manifest,
    shape: Shape,
    code_bytes: u64,
}

/// Inspects.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let module = source::load(&flags.file)?;
    let inspection = inspect(&module)?;
    let text =
        if flags.json { format!("{:#}\n", inspection.json()) } else { inspection.text(Paint::for_stdout()) };
    terminal::print(&text)?;
    Ok(Verdict::of(inspection.admitted.is_ok()))
}

fn inspect(module: &[u8]) -> Result<Inspection, Error> {
    let (imports, exports) = interface(module);
    let tried = match class_for(module, &limits()) {
        Ok(class) => runtime()?.admit_in(class, module).map(|admitted| (class, admitted)),
        Err(rejection) => Err(PolicyError::Rejected(rejection)),
    };
    let admitted = match tried {
        Ok((class, admitted)) => Ok(Admitted {
            class,
            manifest: admitted.module.manifest().clone(),
            shape: admitted.shape,
            code_bytes: u64::try_from(admitted.code_bytes).unwrap_or(u64::MAX),
        }),
        Err(PolicyError::Rejected(rejection)) => Err(rejection),
        Err(other) => return Err(Error::refused(other)),
    };
    let size_bytes = u64::try_from(module.len()).unwrap_or(u64::MAX);
    Ok(Inspection { digest: Digest::of(module), size_bytes, imports, exports, admitted })
}

/// What the outermost component imports and exports, as far as the bytes can be read.
fn interface(module: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::Version { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 1 => {
                // Types bring in nothing.
                let real = section
                    .into_iter()
                    .flatten()
                    .filter(|import| !matches!(import.ty, ComponentTypeRef::Type(_)));
                imports.extend(real.map(|import| import.name.name.to_owned()));
            }
            Ok(Payload::ComponentExportSection(section)) if depth == 1 => {
                exports.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (imports, exports)
}

/// The counted things of a shape, by name.
fn counted(shape: &Shape) -> [(&'static str, u64); 13] {
    [
        ("bytes", shape.bytes),
        ("depth", shape.depth),
        ("type_depth", shape.type_depth),
        ("modules", shape.modules),
        ("instances", shape.instances),
        ("functions", shape.functions),
        ("function_bytes", shape.function_bytes),
        ("locals", shape.locals),
        ("globals", shape.globals),
        ("memories", shape.memories),
        ("memory_bytes", shape.memory_bytes),
        ("tables", shape.tables),
        ("table_elements", shape.table_elements),
    ]
}

impl Inspection {
    fn json(&self) -> Value {
        let mut value = json!({
            "accepted": self.admitted.is_ok(),
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "imports": self.imports,
            "exports": self.exports,
        });
        let Some(object) = value.as_object_mut() else { return value };
        match &self.admitted {
            Ok(admitted) => {
                let shape = counted(&admitted.shape)
                    .into_iter()
                    .map(|(name, number)| (name.to_owned(), number.into()));
                object.insert("class".to_owned(), json!(admitted.class));
                object.insert("manifest".to_owned(), json!(admitted.manifest));
                object.insert("shape".to_owned(), Value::Object(shape.collect()));
                object.insert("code_bytes".to_owned(), admitted.code_bytes.into());
            }
            Err(rejection) => {
                let error = |finding: &proviso_policy::Finding| json!({"code": finding.code, "place": finding.place, "detail": finding.detail});
                object.insert("errors".to_owned(), rejection.0.iter().map(error).collect());
            }
        }
        value
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{} {value}", paint.faint(&format!("{name:<10}")));
        };
        if let Ok(Admitted { manifest, .. }) = &self.admitted {
            row("policy", &paint.strong(&format!("{} {}", manifest.name, manifest.version)));
            row("summary", &manifest.summary);
        }
        row("digest", &self.digest.to_string());
        row("size", &bytes(self.size_bytes));
        row("imports", &listed(&self.imports));
        row("exports", &listed(&self.exports));
        match &self.admitted {
            Ok(Admitted { class, manifest, shape, code_bytes }) => {
                let least = if *class == ResourceClass::Large { "large" } else { "default or large" };
                row("class", least);
                let needs = [
                    ("balances", manifest.needs.balances),
                    ("grants", manifest.needs.grants),
                    ("customer attributes", manifest.needs.customer_attributes),
                    ("entity attributes", manifest.needs.entity_attributes),
                ];
                let needs: Vec<String> = needs
                    .into_iter()
                    .filter(|(_, needed)| *needed)
                    .map(|(name, _)| name.to_owned())
                    .collect();
                row("reads", &listed(&needs));
                row("native", &bytes(*code_bytes));
                let counted: Vec<String> = counted(shape)
                    .into_iter()
                    .skip(1)
                    .map(|(name, number)| format!("{} {}", name.replace('_', " "), count(number)))
                    .collect();
                row("shape", &counted.join(", "));
                row("settings", &settings(&manifest.settings_schema));
                row(
                    "checks",
                    &paint.good("passed: size, shape, interface, compilation, same answers when asked twice"),
                );
            }
            Err(rejection) => {
                row("checks", &paint.bad("refused"));
                for finding in &rejection.0 {
                    let _ = writeln!(text, "  {finding} {}", paint.faint(&format!("({})", finding.code)));
                }
            }
        }
        text
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// The names of the settings, as the schema gives them.
fn settings(schema: &JsonText) -> String {
    let schema: Value = serde_json::from_str(schema.as_str()).unwrap_or_default();
    let names = schema.get("properties").and_then(Value::as_object);
    let names: Vec<String> = names.map(|names| names.keys().cloned().collect()).unwrap_or_default();
    format!("{} (the schema: --json)", listed(&names))
}
