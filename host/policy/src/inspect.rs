//! Judges a module before anything is compiled.
//!
//! Sizes come first, in one pass whose cost is linear in the bytes; then validation; then the world. What is instantiated is
//! counted as often as that happens, since a few bytes can name an exponential number of instances, and a module or
//! component that is never instantiated is refused, so that what is counted is all that there is. Validation goes through
//! the exports of a component each time it is instantiated: how much that comes to is bounded like a size.

use crate::{fault::Rejection, limits::Limits, shape::Shape, world};
use proviso_ledger::model::resources::ResourceClass;
use std::panic::catch_unwind;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, FunctionBody, Instance, Parser, Payload, TableInit, Validator, WasmFeatures,
};

const WASM_PAGE: u64 = 64 << 10;

/// The WebAssembly that policies may use: version 2, without references to the host's objects.
const FEATURES: WasmFeatures =
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES).union(WasmFeatures::COMPONENT_MODEL);

/// Checks size, shape, validity and world of a module.
///
/// # Errors
/// What is wrong, and where.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Shape, Rejection> {
    let size = Shape { bytes: bytes.len() as u64, ..Shape::default() };
    size.within(&limits.shape)?;
    let walk = Walk::over(bytes)?;
    walk.shape.within(&limits.shape)?;
    walk.all_instantiated()?;
    // The validator asserts some of its bounds (the depth of instance types, for one) instead of reporting them.
    let validated = catch_unwind(|| Validator::new_with_features(FEATURES).validate_all(bytes));
    let types = validated
        .map_err(|_| Rejection::one("malformed", "module", "the validator gave up on its types"))?
        .map_err(|error| malformed(&error))?;
    world::check(&types, &walk.imports, &walk.exports)?;
    Ok(walk.shape)
}

/// The least class that a component may be of, of default and large: checks it as [`inspect()`] does.
///
/// # Errors
/// What is wrong with it in the larger of the two.
pub fn class_for(bytes: &[u8], limits: &Limits) -> Result<ResourceClass, Rejection> {
    let judge = |class| inspect(bytes, &Limits { shape: limits.shape(class), ..limits.clone() });
    if judge(ResourceClass::Default).is_ok() {
        return Ok(ResourceClass::Default);
    }
    judge(ResourceClass::Large).map(|_| ResourceClass::Large)
}

fn malformed(error: &BinaryReaderError) -> Rejection {
    Rejection::one("malformed", format!("byte {}", error.offset()), error.message())
}

/// How deep component and instance types can be within one another, at most. Reading them takes the stack of this
/// thread, so they are counted before they are read: each that is inside another follows the byte that declares a type.
fn nested_types(section: &[u8]) -> u64 {
    const DECLARES_TYPE: u8 = 0x01;
    const COMPONENT_OR_INSTANCE: [u8; 2] = [0x41, 0x42];
    let opens = |pair: &&[u8]| matches!(pair, [DECLARES_TYPE, kind] if COMPONENT_OR_INSTANCE.contains(kind));
    section.windows(2).filter(opens).count() as u64
}

/// What one instantiation of a module or component makes.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    instances: u64,
    linked_bytes: u64,
    memories: u64,
    memory_bytes: u64,
    tables: u64,
    table_elements: u64,
}

impl Made {
    fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.instances, other.instances),
            (&mut self.linked_bytes, other.linked_bytes),
            (&mut self.memories, other.memories),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.tables, other.tables),
            (&mut self.table_elements, other.table_elements),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// A module or component that is defined in the bytes.
#[derive(Debug, Clone, Copy)]
struct Definition {
    begins_at: usize,
    makes: Made,
    is_instantiated: bool,
}

/// A definition's index in [`Walk::definitions`]; none for something that is imported or taken out of an instance, whose size
/// is not known here.
type Defined = Option<usize>;

/// A module or component whose end has not been seen, with the things it can instantiate by index.
#[derive(Default)]
struct Frame {
    is_module: bool,
    begins_at: usize,
    makes: Made,
    modules: Vec<Defined>,
    components: Vec<Defined>,
}

struct Walk<'a> {
    bytes: &'a [u8],
    shape: Shape,
    open: Vec<Frame>,
    definitions: Vec<Definition>,
    /// What the outermost component imports and exports.
    imports: Vec<String>,
    exports: Vec<String>,
}

impl<'a> Walk<'a> {
    fn over(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let shape = Shape { bytes: bytes.len() as u64, ..Shape::default() };
        let mut walk = Self {
            bytes,
            shape,
            open: Vec::new(),
            definitions: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| malformed(&error))?;
            walk.payload(payload).map_err(|error| match error {
                Stop::Malformed(error) => malformed(&error),
                Stop::Refused(rejection) => rejection,
            })?;
        }
        Ok(walk)
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Stop> {
        self.link(&payload);
        match payload {
            Payload::Version { encoding, range, .. } => {
                self.enter(encoding == Encoding::Module, range.start)?;
            }
            Payload::End(_) => self.leave(),
            Payload::FunctionSection(section) => self.shape.functions += u64::from(section.count()),
            Payload::GlobalSection(section) => self.shape.globals += u64::from(section.count()),
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    self.makes(Made {
                        memories: 1,
                        memory_bytes: memory.initial.saturating_mul(WASM_PAGE),
                        ..Made::default()
                    });
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    if matches!(table.init, TableInit::Expr(_)) {
                        // A proposal beyond version 2; validation names it.
                        continue;
                    }
                    self.makes(Made { tables: 1, table_elements: table.ty.initial, ..Made::default() });
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    if let Instance::Instantiate { module_index, .. } = instance {
                        self.instantiate(offset, |frame| frame.modules.get(module_index as usize))?;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    if let ComponentInstance::Instantiate { component_index, .. } = instance {
                        self.instantiate(offset, |frame| frame.components.get(component_index as usize))?;
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    if self.open.len() == 1 {
                        self.imports.push(import.name.name.to_owned());
                    }
                    match import.ty {
                        ComponentTypeRef::Module(_) => self.name(ComponentExternalKind::Module, None),
                        ComponentTypeRef::Component(_) => self.name(ComponentExternalKind::Component, None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentTypeSection(section) => {
                let levels = self.bytes.get(section.range()).map_or(0, nested_types);
                self.shape.type_depth = self.shape.type_depth.max(levels);
            }
            // An export is a new index for what it exports.
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if self.open.len() == 1 {
                        self.exports.push(export.name.name.to_owned());
                    }
                    let index = export.index as usize;
                    let defined = self.open.last().and_then(|frame| match export.kind {
                        ComponentExternalKind::Module => frame.modules.get(index).copied().flatten(),
                        ComponentExternalKind::Component => frame.components.get(index).copied().flatten(),
                        _ => None,
                    });
                    self.name(export.kind, defined);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a section that says what there is, in contrast to code, data and what is defined inside this frame.
    fn link(&mut self, payload: &Payload<'_>) {
        let counts = !matches!(
            payload,
            Payload::CodeSectionStart { .. }
                | Payload::DataSection(_)
                | Payload::ElementSection(_)
                | Payload::FunctionSection(_)
                | Payload::CustomSection(_)
                | Payload::ModuleSection { .. }
                | Payload::ComponentSection { .. }
        );
        if let Some((_, range)) = payload.as_section().filter(|_| counts) {
            self.makes(Made { linked_bytes: range.len() as u64, ..Made::default() });
        }
    }

    fn enter(&mut self, is_module: bool, begins_at: usize) -> Result<(), Stop> {
        if is_module && self.open.is_empty() {
            let detail = "a core module; a policy is a component (`proviso policy build` makes one)";
            return Err(Stop::Refused(Rejection::one("not_a_component", "byte 0", detail)));
        }
        let makes = Made { instances: 1, ..Made::default() };
        self.open.push(Frame { is_module, begins_at, makes, ..Frame::default() });
        if is_module {
            self.shape.modules += 1;
        } else {
            self.shape.depth = self.shape.depth.max(self.open.len() as u64);
        }
        Ok(())
    }

    fn leave(&mut self) {
        let Some(Frame { is_module, begins_at, makes, .. }) = self.open.pop() else { return };
        let index = self.definitions.len();
        if let Some(parent) = self.open.last_mut() {
            if is_module { &mut parent.modules } else { &mut parent.components }.push(Some(index));
        } else {
            self.shape.instances = makes.instances;
            self.shape.linked_bytes = makes.linked_bytes;
            self.shape.memories = makes.memories;
            self.shape.memory_bytes = makes.memory_bytes;
            self.shape.tables = makes.tables;
            self.shape.table_elements = makes.table_elements;
        }
        // The outermost is what the host instantiates.
        let is_instantiated = self.open.is_empty();
        self.definitions.push(Definition { begins_at, makes, is_instantiated });
    }

    fn all_instantiated(&self) -> Result<(), Rejection> {
        match self.definitions.iter().find(|definition| !definition.is_instantiated) {
            Some(Definition { begins_at, .. }) => {
                let detail = "a module or component that is never instantiated";
                Err(Rejection::one("never_instantiated", format!("byte {begins_at}"), detail))
            }
            None => Ok(()),
        }
    }

    fn makes(&mut self, made: Made) {
        if let Some(frame) = self.open.last_mut() {
            frame.makes.add(made);
        }
    }

    fn instantiate(&mut self, offset: usize, of: impl Fn(&Frame) -> Option<&Defined>) -> Result<(), Stop> {
        let defined = self.open.last().and_then(|frame| of(frame).copied().flatten());
        let Some(definition) = defined.and_then(|index| self.definitions.get_mut(index)) else {
            let detail = "only a module or component that is defined inside this one may be instantiated";
            return Err(Stop::Refused(Rejection::one("foreign_instance", format!("byte {offset}"), detail)));
        };
        definition.is_instantiated = true;
        let makes = definition.makes;
        self.makes(makes);
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::InstanceExport { kind, .. } => self.name(kind, None),
            ComponentAlias::Outer { kind, count, index } => {
                let outer =
                    (self.open.len().checked_sub(1 + count as usize)).and_then(|at| self.open.get(at));
                let find = |list: fn(&Frame) -> &Vec<Defined>| {
                    outer.and_then(|frame| list(frame).get(index as usize)).copied().flatten()
                };
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let defined = find(|frame| &frame.modules);
                        self.name(ComponentExternalKind::Module, defined);
                    }
                    ComponentOuterAliasKind::Component => {
                        let defined = find(|frame| &frame.components);
                        self.name(ComponentExternalKind::Component, defined);
                    }
                    _ => {}
                }
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }

    fn name(&mut self, kind: ComponentExternalKind, defined: Defined) {
        let Some(frame) = self.open.last_mut() else { return };
        match kind {
            ComponentExternalKind::Module => frame.modules.push(defined),
            ComponentExternalKind::Component => frame.components.push(defined),
            _ => {}
        }
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Stop> {
        let mut locals = 0_u64;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(u64::from(group?.0));
        }
        self.shape.locals = self.shape.locals.max(locals);
        self.shape.function_bytes = self.shape.function_bytes.max(body.range().len() as u64);
        Ok(())
    }
}

enum Stop {
    Malformed(BinaryReaderError),
    Refused(Rejection),
}

impl From<BinaryReaderError> for Stop {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}
