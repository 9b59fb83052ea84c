//! The core module inside a policy's component: taken out, and wrapped again with one more import.

use super::refused;
use crate::{build, fault::PolicyError, v1::WIT};
use std::path::Path;
use wasm_encoder::RawSection;
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The world of a module with probes: a policy's, and a place to report to. Only this host's own sandbox for instruments knows it.
const PROBED: &str = "world probed { include policy; import probe: func(place: u32, bits: u64); }";

/// Custom sections that say of what world a core module is.
const DESCRIPTION: &str = "component-type";

/// A policy to look into: the component as a server takes it, and its core module with what it knows of its source.
#[derive(Debug, Clone)]
pub struct Source {
    component: Vec<u8>,
    core: Vec<u8>,
}

impl Source {
    /// Of a component: its core module is the one that exports the interface. Names and lines are there if the component still
    /// has them.
    ///
    /// # Errors
    /// When no core module in it exports the interface itself.
    pub fn of_component(component: Vec<u8>) -> Result<Self, PolicyError> {
        let core = find(&component)?.to_vec();
        Ok(Self { component, core })
    }

    /// Builds the policy crate in `dir`, keeping names and lines. The component is the same as [`build::build`] makes.
    ///
    /// # Errors
    /// As [`build::build`].
    pub fn build(dir: &Path) -> Result<Self, build::BuildError> {
        Self::of_core(build::core(dir, build::Toolchain::find(dir)?, &[])?, dir)
    }

    /// Of a core module as it was built of the crate in `dir`, which says itself of what world it is.
    pub(crate) fn of_core(core: Vec<u8>, dir: &Path) -> Result<Self, build::BuildError> {
        let described = keeping(&core, |name| name.starts_with(DESCRIPTION));
        let component = build::component(&described, &dir.join("src/lib.rs"))?;
        Ok(Self { component, core })
    }

    /// The component alone.
    pub(crate) fn into_component(self) -> Vec<u8> {
        self.component
    }

    /// The component, as a server takes it.
    #[must_use]
    pub fn component(&self) -> &[u8] {
        &self.component
    }

    /// The core module.
    pub(super) fn core(&self) -> &[u8] {
        &self.core
    }
}

/// Wraps a rewritten core module as a component.
pub(super) fn wrap(core: &[u8]) -> Result<Vec<u8>, PolicyError> {
    let failed = |error: String| refused(format!("the rewritten module does not make a component: {error}"));
    let mut resolve = wit_parser::Resolve::default();
    let text = format!("{WIT}\n{PROBED}\n");
    let package = resolve.push_str("policy.wit", &text).map_err(|error| failed(format!("{error:#}")))?;
    let world =
        resolve.select_world(&[package], Some("probed")).map_err(|error| failed(format!("{error:#}")))?;
    let mut core = keeping(core, |_| false);
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
        .and_then(|()| ComponentEncoder::default().validate(true).module(&core)?.encode())
        .map_err(|error| failed(format!("{error:#}")))
}

/// A core module with those of its custom sections whose names are wanted.
fn keeping(core: &[u8], is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let Ok(payload) = payload else { break };
        if matches!(&payload, Payload::CustomSection(custom) if !is_wanted(custom.name())) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            let data = core.get(range).unwrap_or_default();
            kept.section(&RawSection { id, data });
        }
    }
    kept.finish()
}

/// The core module that exports the interface.
fn find(component: &[u8]) -> Result<&[u8], PolicyError> {
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| refused(error.to_string()))?;
        if let Payload::ModuleSection { unchecked_range: range, .. } = payload
            && let Some(core) = component.get(range)
            && exports_interface(core)
        {
            return Ok(core);
        }
    }
    Err(refused(
        "no core module in it exports the interface itself: the calls go through code that can't be rewritten",
    ))
}

fn exports_interface(core: &[u8]) -> bool {
    let exports = Parser::new(0).parse_all(core).filter_map(|payload| match payload {
        Ok(Payload::ExportSection(section)) => Some(section),
        _ => None,
    });
    let functions: Vec<&str> = exports
        .flat_map(|section| section.into_iter().flatten())
        .filter(|export| export.kind == ExternalKind::Func)
        .map(|export| export.name)
        .collect();
    ["prepare", "rate", "overage", "close", "open"].iter().all(|name| functions.contains(name))
}
