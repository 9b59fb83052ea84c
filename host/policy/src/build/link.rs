//! Makes one core module of those that a component links when it is instantiated, as tools of interpreted languages make it: the
//! interpreter as a shared library, the policy's functions as another, adapters and tables of indirect calls. What comes of it is a
//! policy like those that are compiled: one module with one memory, which imports `log` at most. Whatever else the component would ask of
//! its host (WASI: a clock, randomness, files) becomes a function that traps.
//!
//! Links that cross from one component to another need code that the host makes for them and fuel does not count, which is why no server
//! takes such components.

mod merge;

use crate::v1::{WIT, WORLD};
use std::collections::BTreeMap;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind, ComponentTypeRef, Encoding,
    ExternalKind, Instance, Parser, Payload,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The one import of a policy.
const LOG: &str = "log";
/// A function of the component's own making, which was called when it was made.
const INITIALIZER: &str = "init";

/// The same policy with one core module.
///
/// # Errors
/// What of the component is otherwise than the tools make it.
pub(super) fn flat(component: &[u8]) -> Result<Vec<u8>, String> {
    let links = Links::of(component)?;
    let mut module = merge::merge(&links)?;
    let told = |error| format!("{error:#}");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("policy.wit", WIT).map_err(told)?;
    let name = WORLD.rsplit('/').next().and_then(|name| name.split('@').next());
    let world = resolve.select_world(&[package], name).map_err(told)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(told)?;
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(told)
}

/// What a core function of a component is.
#[derive(Debug, Clone, Copy)]
enum Function<'a> {
    /// The export of a core instance.
    Export(Named<'a>),
    Log,
    /// Something that a policy does not have.
    Foreign,
}

/// An export of a core instance.
#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    instance: u32,
    name: &'a str,
}

/// A core instance.
#[derive(Debug)]
enum CoreInstance<'a> {
    Of {
        module: u32,
        arguments: BTreeMap<&'a str, u32>,
    },
    /// Made of what stands in the component, by kind and index.
    Named(BTreeMap<&'a str, (ExternalKind, u32)>),
}

/// A function of the interface, with its core functions.
#[derive(Debug, Clone, Default)]
struct Lifted {
    core: u32,
    post_return: Option<u32>,
    realloc: Option<u32>,
}

/// A function of a component.
#[derive(Debug, Clone)]
enum ComponentFunction {
    Log,
    Lifted(Lifted),
    Foreign,
}

/// How a component links its core modules.
#[derive(Debug, Default)]
struct Links<'a> {
    modules: Vec<&'a [u8]>,
    instances: Vec<CoreInstance<'a>>,
    functions: Vec<Function<'a>>,
    tables: Vec<Named<'a>>,
    memories: Vec<Named<'a>>,
    globals: Vec<Named<'a>>,
    component_functions: Vec<ComponentFunction>,
    exports: BTreeMap<&'a str, Lifted>,
}

impl<'a> Links<'a> {
    /// Of the component, or of the one within it, that exports the policy's functions of its own core modules.
    fn of(component: &'a [u8]) -> Result<Self, String> {
        // None for a core module, whose own sections are read when it is merged.
        let mut open: Vec<Option<Self>> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(|error| error.to_string())?;
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } => open.push(None),
                Payload::Version { encoding: Encoding::Component, .. } => open.push(Some(Self::default())),
                Payload::End(_) => match open.pop() {
                    Some(Some(links)) if links.exports.contains_key("rate") => return Ok(links),
                    _ => {}
                },
                payload => {
                    if let Some(Some(links)) = open.last_mut() {
                        links.read(payload, component).map_err(|error| error.to_string())?;
                    }
                }
            }
        }
        Err("no component in it exports the policy's functions of its own core modules".to_owned())
    }

    fn read(&mut self, payload: Payload<'a>, component: &'a [u8]) -> wasmparser::Result<()> {
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                self.modules.push(component.get(unchecked_range).unwrap_or_default());
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.instances.push(match instance? {
                        Instance::Instantiate { module_index, args } => CoreInstance::Of {
                            module: module_index,
                            arguments: args.iter().map(|argument| (argument.name, argument.index)).collect(),
                        },
                        Instance::FromExports(exports) => CoreInstance::Named(
                            exports.iter().map(|export| (export.name, (export.kind, export.index))).collect(),
                        ),
                    });
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    if matches!(import.ty, ComponentTypeRef::Func(_)) {
                        let is_log = import.name.name == LOG;
                        self.component_functions.push(if is_log {
                            ComponentFunction::Log
                        } else {
                            ComponentFunction::Foreign
                        });
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    match alias? {
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, .. } => {
                            self.component_functions.push(ComponentFunction::Foreign);
                        }
                        ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                            let named = Named { instance: instance_index, name };
                            match kind {
                                ExternalKind::Func | ExternalKind::FuncExact => {
                                    self.functions.push(Function::Export(named));
                                }
                                ExternalKind::Table => self.tables.push(named),
                                ExternalKind::Memory => self.memories.push(named),
                                ExternalKind::Global => self.globals.push(named),
                                ExternalKind::Tag => {}
                            }
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section {
                    self.canonical(function?);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Func {
                        let function = self.component_functions.get(export.index as usize).cloned();
                        let function = function.unwrap_or(ComponentFunction::Foreign);
                        if let ComponentFunction::Lifted(lifted) = &function
                            && export.name.name != INITIALIZER
                        {
                            self.exports.insert(export.name.name, lifted.clone());
                        }
                        // An export is a new index for what it exports.
                        self.component_functions.push(function);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn canonical(&mut self, function: CanonicalFunction) {
        match function {
            CanonicalFunction::Lift { core_func_index, options, .. } => {
                let mut lifted = Lifted { core: core_func_index, ..Lifted::default() };
                for option in &options {
                    match option {
                        CanonicalOption::PostReturn(index) => lifted.post_return = Some(*index),
                        CanonicalOption::Realloc(index) => lifted.realloc = Some(*index),
                        _ => {}
                    }
                }
                self.component_functions.push(ComponentFunction::Lifted(lifted));
            }
            CanonicalFunction::Lower { func_index, .. } => {
                let lowered = self.component_functions.get(func_index as usize);
                let is_log = matches!(lowered, Some(ComponentFunction::Log));
                self.functions.push(if is_log { Function::Log } else { Function::Foreign });
            }
            // Whatever else makes a core function: of resources, which belong to WASI.
            _ => self.functions.push(Function::Foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Validator, WasmFeatures};
    use wasmtime::{Engine, Linker, Module, Store};

    /// A component that links a library: what `main` has, what `lib` does with it, and how the latter is put into the former.
    fn linked(main: &str, library: &str) -> Vec<u8> {
        let text = format!(
            r#"(component (component
              (import "log" (func $log (param "message" string)))
              (import "clock" (func $clock (result u64)))
              (core module $main
                (memory (export "memory") 1)
                (table (export "table") 4 funcref)
                (global (export "base") i32 (i32.const 1024))
                {main})
              (core instance $main (instantiate $main))
              (alias core export $main "memory" (core memory $memory))
              (alias core export $main "table" (core table $table))
              (alias core export $main "base" (core global $base))
              (core instance $env (export "memory" (memory $memory)) (export "table" (table $table)) (export "base" (global $base)))
              (core func $lowered_log (canon lower (func $log) (memory $memory)))
              (core func $lowered_clock (canon lower (func $clock)))
              (core instance $host (export "log" (func $lowered_log)) (export "clock" (func $lowered_clock)))
              (core module $lib
                (type $number (func (result i32)))
                (import "env" "memory" (memory 1))
                (import "env" "table" (table $table 4 funcref))
                (import "env" "base" (global $base i32))
                (import "host" "clock" (func $clock (result i64)))
                (import "host" "log" (func $log (param i32 i32)))
                (global $place i32 (i32.add (global.get $base) (i32.const 16)))
                (global $calls (mut i32) (i32.const 7))
                (data (offset (i32.add (global.get $base) (i32.const 16))) "*")
                (elem (i32.const 2) func $star)
                (func $star (type $number)
                  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                  (i32.load8_u (global.get $place)))
                (func (export "rate") (type $number)
                  (call $log (global.get $place) (i32.const 1))
                  (i32.add (call_indirect $table (type $number) (i32.const 2)) (global.get $calls)))
                (func (export "now") (type $number) (i32.wrap_i64 (call $clock)))
                {library})
              (core instance $lib (instantiate $lib (with "env" (instance $env)) (with "host" (instance $host))))
              (alias core export $lib "rate" (core func $rate))
              (alias core export $lib "now" (core func $now))
              (func (export "rate") (result u32) (canon lift (core func $rate)))
              (func (export "init") (result u32) (canon lift (core func $now)))
              (func (export "now") (result u32) (canon lift (core func $now)))
            ))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn merged(component: &[u8]) -> Result<Vec<u8>, String> {
        merge::merge(&Links::of(component)?)
    }

    #[test]
    fn one_module_does_what_the_linked_ones_did() {
        let module = merged(&linked("", "")).unwrap();
        let features = WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES);
        Validator::new_with_features(features).validate_all(&module).unwrap();
        let engine = Engine::default();
        let module = Module::new(&engine, &module).unwrap();
        let imports: Vec<_> = module.imports().map(|import| (import.module(), import.name())).collect();
        assert_eq!(imports, [("$root", "log")]);
        let exports: Vec<_> = module.exports().map(|export| export.name()).collect();
        assert_eq!(exports, ["memory", "now", "rate"], "and none that made it");
        let mut linker = Linker::new(&engine);
        linker.func_wrap("$root", "log", |_: i32, _: i32| {}).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let mut call =
            |name| instance.get_typed_func::<(), i32>(&mut store, name).unwrap().call(&mut store, ());
        // The star's code, and the calls so far.
        assert_eq!(call("rate").unwrap(), 42 + 8);
        assert_eq!(call("rate").unwrap(), 42 + 9);
        assert!(call("now").is_err(), "the clock traps");
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        let start = merged(&linked("(func $first) (start $first)", "")).unwrap_err();
        assert_eq!(start, "a core module has a start function");
        let none = flat(&wat::parse_str("(component)").unwrap()).unwrap_err();
        assert!(none.starts_with("no component in it exports"), "{none}");
        assert!(flat(b"no component").is_err());
        // Two functions are not a policy.
        assert!(flat(&linked("", "")).is_err());
    }
}
