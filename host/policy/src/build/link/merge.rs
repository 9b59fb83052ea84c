//! Puts core modules into one, in the order in which they would be instantiated, so that what one writes into memory and tables comes
//! behind what an earlier one wrote.

use super::{CoreInstance, Function, Links, Named};
use std::collections::BTreeMap;
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, FunctionSection, GlobalSection, ImportSection, Instruction, MemorySection, Module,
    TableSection, TypeSection,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{
    Data, Element, ExternalKind, FuncType, FunctionBody, Global, Import, MemoryType, Operator, Parser,
    Payload, Table, TypeRef,
};

/// The module and name under which a core module imports a function of the world itself.
const LOG: (&str, &str) = ("$root", "log");

/// A core module that was read.
#[derive(Default)]
struct Part<'a> {
    types: Vec<FuncType>,
    imports: Vec<Import<'a>>,
    /// The types of its own functions.
    functions: Vec<u32>,
    tables: Vec<Table<'a>>,
    memories: Vec<MemoryType>,
    globals: Vec<Global<'a>>,
    exports: BTreeMap<&'a str, (ExternalKind, u32)>,
    elements: Vec<Element<'a>>,
    data: Vec<Data<'a>>,
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Part<'a> {
    fn of(module: &'a [u8]) -> Result<Self, Error<String>> {
        let mut part = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    part.types = section.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(section) => {
                    part.imports = section.into_imports().collect::<Result<_, _>>()?;
                }
                Payload::FunctionSection(section) => part.functions = all(section)?,
                Payload::TableSection(section) => part.tables = all(section)?,
                Payload::MemorySection(section) => part.memories = all(section)?,
                Payload::GlobalSection(section) => part.globals = all(section)?,
                Payload::ElementSection(section) => part.elements = all(section)?,
                Payload::DataSection(section) => part.data = all(section)?,
                Payload::CodeSectionEntry(body) => part.bodies.push(body),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        part.exports.insert(export.name, (export.kind, export.index));
                    }
                }
                Payload::StartSection { .. } => return Err(failed("a core module has a start function")),
                Payload::TagSection(_) => return Err(failed("a core module has exceptions")),
                _ => {}
            }
        }
        Ok(part)
    }
}

fn all<'a, T: wasmparser::FromReader<'a>>(
    section: wasmparser::SectionLimited<'a, T>,
) -> wasmparser::Result<Vec<T>> {
    section.into_iter().collect()
}

fn failed(detail: impl Into<String>) -> Error<String> {
    Error::UserError(detail.into())
}

/// Where the things of one part are in the merged module, by their index in the part.
#[derive(Default)]
struct Places {
    first_type: u32,
    first_element: u32,
    first_data: u32,
    functions: Vec<u32>,
    tables: Vec<u32>,
    memories: Vec<u32>,
    globals: Vec<u32>,
}

/// Renumbers what one part refers to, and computes its constants.
struct Renumber<'a> {
    places: &'a Places,
    /// The values of the merged module's globals that are known and stay.
    known: &'a [Option<i32>],
}

impl Renumber<'_> {
    fn at(list: &[u32], index: u32) -> Result<u32, Error<String>> {
        list.get(index as usize).copied().ok_or_else(|| failed(format!("index {index} is out of range")))
    }

    /// The value of a constant that is computed of whole numbers alone.
    fn value(&self, constant: &wasmparser::ConstExpr<'_>) -> Option<i32> {
        let mut stack = Vec::new();
        for operator in constant.get_operators_reader() {
            let value = match operator.ok()? {
                Operator::I32Const { value } => value,
                Operator::GlobalGet { global_index } => {
                    let place = Self::at(&self.places.globals, global_index).ok()?;
                    self.known.get(place as usize).copied().flatten()?
                }
                Operator::I32Add => {
                    stack.pop().zip(stack.pop()).map(|(b, a): (i32, i32)| a.wrapping_add(b))?
                }
                Operator::I32Sub => {
                    stack.pop().zip(stack.pop()).map(|(b, a): (i32, i32)| a.wrapping_sub(b))?
                }
                Operator::End => break,
                _ => return None,
            };
            stack.push(value);
        }
        stack.pop()
    }
}

impl Reencode for Renumber<'_> {
    type Error = String;

    fn type_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Ok(self.places.first_type + index)
    }

    fn element_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Ok(self.places.first_element + index)
    }

    fn data_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Ok(self.places.first_data + index)
    }

    fn function_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Self::at(&self.places.functions, index)
    }

    fn table_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Self::at(&self.places.tables, index)
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Self::at(&self.places.memories, index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Self::at(&self.places.globals, index)
    }

    fn const_expr(&mut self, constant: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, Error<String>> {
        match self.value(&constant) {
            Some(value) => Ok(ConstExpr::i32_const(value)),
            None => utils::const_expr(self, constant),
        }
    }
}

/// The parts with their places, as far as they are known.
struct Linker<'l, 'a> {
    links: &'l Links<'a>,
    parts: Vec<Part<'a>>,
    places: Vec<Places>,
    /// Which part a core instance is of.
    part_of: BTreeMap<u32, usize>,
    /// Functions that trap: their merged types, by their signature.
    traps: Vec<(FuncType, u32)>,
    /// The merged index of the first of them.
    first_trap: u32,
    /// Functions that the merged module imports: `log`, or none.
    imported: u32,
    log_type: Option<u32>,
}

/// One core module of all that `links` names.
pub(super) fn merge(links: &Links<'_>) -> Result<Vec<u8>, String> {
    merged(links).map_err(|error| match error {
        Error::UserError(detail) => detail,
        other => other.to_string(),
    })
}

fn merged(links: &Links<'_>) -> Result<Vec<u8>, Error<String>> {
    let mut linker = Linker {
        links,
        parts: Vec::new(),
        places: Vec::new(),
        part_of: BTreeMap::new(),
        traps: Vec::new(),
        first_trap: 0,
        imported: u32::from(links.functions.iter().any(|function| matches!(function, Function::Log))),
        log_type: None,
    };
    let mut arguments = Vec::new();
    for (instance, made) in (0..).zip(&links.instances) {
        if let CoreInstance::Of { module, arguments: named } = made {
            let bytes = links.modules.get(*module as usize).copied();
            let bytes = bytes.ok_or_else(|| failed("a core module is missing"))?;
            linker.part_of.insert(instance, linker.parts.len());
            linker.parts.push(Part::of(bytes)?);
            arguments.push(named);
        }
    }
    linker.place(&arguments)?;
    linker.encode()
}

impl Linker<'_, '_> {
    /// Gives everything its place in the merged module.
    fn place(&mut self, arguments: &[&BTreeMap<&str, u32>]) -> Result<(), Error<String>> {
        let mut next = [self.imported, 0, 0, 0];
        let (mut types, mut elements, mut data) = (0, 0, 0);
        self.first_trap = self.imported + self.parts.iter().map(|part| count(&part.functions)).sum::<u32>();
        for (number, arguments) in arguments.iter().enumerate() {
            let mut places =
                Places { first_type: types, first_element: elements, first_data: data, ..Places::default() };
            let imports = self.parts.get(number).map(|part| part.imports.clone()).unwrap_or_default();
            for import in imports {
                let instance = arguments.get(import.module);
                let instance =
                    instance.ok_or_else(|| failed(format!("nothing is linked as {}", import.module)))?;
                let named = Named { instance: *instance, name: import.name };
                match import.ty {
                    TypeRef::Func(index) => {
                        let place = self.function(number, named, types, index)?;
                        places.functions.push(place);
                    }
                    TypeRef::Table(_) => places.tables.push(self.thing(named, ExternalKind::Table)?),
                    TypeRef::Memory(_) => places.memories.push(self.thing(named, ExternalKind::Memory)?),
                    TypeRef::Global(_) => places.globals.push(self.thing(named, ExternalKind::Global)?),
                    _ => {
                        return Err(failed(format!(
                            "{} is imported as what a policy can't have",
                            import.name
                        )));
                    }
                }
            }
            let Some(part) = self.parts.get(number) else { continue };
            let counts =
                [count(&part.functions), count(&part.tables), count(&part.memories), count(&part.globals)];
            let lists =
                [&mut places.functions, &mut places.tables, &mut places.memories, &mut places.globals];
            for ((list, next), count) in lists.into_iter().zip(&mut next).zip(counts) {
                list.extend(*next..*next + count);
                *next += count;
            }
            types += count(&part.types);
            elements += count(&part.elements);
            data += count(&part.data);
            self.places.push(places);
        }
        Ok(())
    }

    /// The place of a function that a part imports with a type of its own.
    fn function(
        &mut self,
        part: usize,
        named: Named<'_>,
        first_type: u32,
        index: u32,
    ) -> Result<u32, Error<String>> {
        let signature = self.parts.get(part).and_then(|part| part.types.get(index as usize)).cloned();
        let signature = signature.ok_or_else(|| failed("a type is missing"))?;
        match self.resolve(named, ExternalKind::Func)? {
            Function::Export(named) => self.exported(named, ExternalKind::Func),
            Function::Log => {
                self.log_type = Some(first_type + index);
                Ok(0)
            }
            Function::Foreign => {
                let known = self.traps.iter().position(|(known, _)| *known == signature);
                let number = known.unwrap_or_else(|| {
                    self.traps.push((signature, first_type + index));
                    self.traps.len() - 1
                });
                Ok(self.first_trap + u32::try_from(number).unwrap_or(u32::MAX))
            }
        }
    }

    /// The place of a table, memory or global.
    fn thing(&self, named: Named<'_>, kind: ExternalKind) -> Result<u32, Error<String>> {
        match self.resolve(named, kind)? {
            Function::Export(named) => self.exported(named, kind),
            _ => Err(failed(format!("{} is of no core module", named.name))),
        }
    }

    /// Follows an export through instances that are made of others' exports, up to a part's own.
    fn resolve<'n>(
        &'n self,
        mut named: Named<'n>,
        kind: ExternalKind,
    ) -> Result<Function<'n>, Error<String>> {
        loop {
            match self.links.instances.get(named.instance as usize) {
                Some(CoreInstance::Of { .. }) => return Ok(Function::Export(named)),
                Some(CoreInstance::Named(exports)) => {
                    let missing = || failed(format!("{} is not among what is linked", named.name));
                    let (found, index) = *exports.get(named.name).ok_or_else(missing)?;
                    let index = index as usize;
                    let next = match (found, kind) {
                        (ExternalKind::Func, ExternalKind::Func) => match self.links.functions.get(index) {
                            Some(Function::Export(named)) => Some(*named),
                            Some(other) => return Ok(*other),
                            None => None,
                        },
                        (ExternalKind::Table, ExternalKind::Table) => self.links.tables.get(index).copied(),
                        (ExternalKind::Memory, ExternalKind::Memory) => {
                            self.links.memories.get(index).copied()
                        }
                        (ExternalKind::Global, ExternalKind::Global) => {
                            self.links.globals.get(index).copied()
                        }
                        _ => None,
                    };
                    named = next.ok_or_else(missing)?;
                }
                None => return Err(failed(format!("{} is of an instance that is missing", named.name))),
            }
        }
    }

    /// The place of a part's export.
    fn exported(&self, named: Named<'_>, kind: ExternalKind) -> Result<u32, Error<String>> {
        let part = self.part_of.get(&named.instance).copied();
        let export = part.and_then(|part| self.parts.get(part)?.exports.get(named.name));
        let places = part.and_then(|part| self.places.get(part));
        match (export, places) {
            (Some((found, index)), Some(places)) if *found == kind => {
                let list = match kind {
                    ExternalKind::Table => &places.tables,
                    ExternalKind::Memory => &places.memories,
                    ExternalKind::Global => &places.globals,
                    _ => &places.functions,
                };
                Renumber::at(list, *index)
            }
            _ => Err(failed(format!("{} is exported by no earlier core module", named.name))),
        }
    }

    /// The place of a core function of the component.
    fn core_function(&self, index: u32) -> Result<u32, Error<String>> {
        match self.links.functions.get(index as usize) {
            Some(Function::Export(named)) => match self.resolve(*named, ExternalKind::Func)? {
                Function::Export(named) => self.exported(named, ExternalKind::Func),
                _ => Err(failed("a function of the interface is not the policy's own")),
            },
            _ => Err(failed("a function of the interface is not the policy's own")),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, Error<String>> {
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        let (mut tables, mut memories, mut globals) =
            (TableSection::new(), MemorySection::new(), GlobalSection::new());
        let (mut elements, mut code, mut data) =
            (ElementSection::new(), CodeSection::new(), DataSection::new());
        if self.imported > 0 {
            let log = self.log_type.ok_or_else(|| failed("log is linked, but not imported"))?;
            imports.import(LOG.0, LOG.1, EntityType::Function(log));
        }
        let mut known = Vec::new();
        for (part, places) in self.parts.iter().zip(&self.places) {
            for signature in &part.types {
                let signature = Renumber { places, known: &known }.func_type(signature.clone())?;
                types.ty().func_type(&signature);
            }
            for index in &part.functions {
                functions.function(places.first_type + index);
            }
            for global in &part.globals {
                let mut renumber = Renumber { places, known: &known };
                let value = renumber.value(&global.init_expr).filter(|_| !global.ty.mutable);
                let ty = renumber.global_type(global.ty)?;
                globals.global(ty, &renumber.const_expr(global.init_expr.clone())?);
                known.push(value);
            }
            let mut renumber = Renumber { places, known: &known };
            for table in &part.tables {
                renumber.parse_table(&mut tables, table.clone())?;
            }
            for memory in &part.memories {
                memories.memory(renumber.memory_type(*memory)?);
            }
            for element in &part.elements {
                renumber.parse_element(&mut elements, element.clone())?;
            }
            for datum in &part.data {
                renumber.parse_data(&mut data, datum.clone())?;
            }
            for body in &part.bodies {
                renumber.parse_function_body(&mut code, body.clone())?;
            }
        }
        for (_, index) in &self.traps {
            functions.function(*index);
            let mut trap = wasm_encoder::Function::new([]);
            trap.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
            code.function(&trap);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&tables).section(&memories);
        module.section(&globals).section(&self.exports()?).section(&elements);
        module.section(&DataCountSection { count: data.len() }).section(&code).section(&data);
        Ok(module.finish())
    }

    fn exports(&self) -> Result<ExportSection, Error<String>> {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        let realloc = self.links.exports.values().find_map(|lifted| lifted.realloc);
        if let Some(realloc) = realloc {
            exports.export("cabi_realloc", ExportKind::Func, self.core_function(realloc)?);
        }
        for (name, lifted) in &self.links.exports {
            exports.export(name, ExportKind::Func, self.core_function(lifted.core)?);
            if let Some(post_return) = lifted.post_return {
                let name = format!("cabi_post_{name}");
                exports.export(&name, ExportKind::Func, self.core_function(post_return)?);
            }
        }
        Ok(exports)
    }
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}
