//! What both ways of rewriting a core module share: its layout, and encoding it again with another import, other bodies, further
//! functions and further globals. Indices of functions move, all others stay.

use super::refused;
use crate::fault::PolicyError;
use std::{collections::HashMap, convert::Infallible};
use wasm_encoder::{
    CodeSection, ConstExpr, EntityType, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, Module, SectionId, TypeSection, ValType,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{ExternalKind, FuncType, FunctionBody, KnownCustom, Name, Parser, Payload, TypeRef};

type Result<T> = std::result::Result<T, Error<Infallible>>;

/// The world's exports, as the core module names them.
pub(super) const CALLS: [&str; 6] = ["describe", "prepare", "rate", "overage", "close", "open"];

/// What a core module consists of, as far as rewriting must know.
pub(super) struct Layout<'a> {
    core: &'a [u8],
    types: Vec<FuncType>,
    /// The type of each function, the imported ones first.
    functions: Vec<u32>,
    /// How many functions are imported.
    pub(super) imported: u32,
    /// How many globals there are.
    pub(super) globals: u32,
    /// Exported functions.
    pub(super) exports: Vec<(&'a str, u32)>,
    /// The bodies, in order.
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// Where the code section's contents begin, from which debug information counts.
    pub(super) code_start: usize,
    names: HashMap<u32, String>,
}

impl<'a> Layout<'a> {
    pub(super) fn of(core: &'a [u8]) -> std::result::Result<Self, PolicyError> {
        let mut layout = Self {
            core,
            types: Vec::new(),
            functions: Vec::new(),
            imported: 0,
            globals: 0,
            exports: Vec::new(),
            bodies: Vec::new(),
            code_start: 0,
            names: HashMap::new(),
        };
        layout.read().map_err(|error| refused(error.to_string()))?;
        Ok(layout)
    }

    fn read(&mut self) -> wasmparser::Result<()> {
        for payload in Parser::new(0).parse_all(self.core) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        self.types.push(ty?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(ty) => self.functions.push(ty),
                            TypeRef::Global(_) => self.globals += 1,
                            _ => {}
                        }
                    }
                    self.imported = count(self.functions.len());
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        self.functions.push(ty?);
                    }
                }
                Payload::GlobalSection(section) => self.globals += section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            self.exports.push((export.name, export.index));
                        }
                    }
                }
                Payload::CodeSectionStart { range, .. } => self.code_start = range.start,
                Payload::CodeSectionEntry(body) => self.bodies.push(body),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        self.read_names(names);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Names that can't be read are no names.
    fn read_names(&mut self, names: wasmparser::NameSectionReader<'_>) {
        for map in names.into_iter().flatten() {
            if let Name::Function(map) = map {
                let named = map.into_iter().flatten();
                self.names
                    .extend(named.map(|naming| {
                        (naming.index, format!("{:#}", rustc_demangle::demangle(naming.name)))
                    }));
            }
        }
    }

    /// A function's name: what the module calls it, else what it exports it as, else its index.
    pub(super) fn name(&self, function: u32) -> String {
        let exported =
            || self.exports.iter().find(|(_, index)| *index == function).map(|(name, _)| (*name).to_owned());
        let named = self.names.get(&function).cloned();
        named.or_else(exported).unwrap_or_else(|| format!("function {function}"))
    }

    /// The type of a function, by its index.
    pub(super) fn type_of(&self, function: u32) -> Option<(u32, &FuncType)> {
        let index = *self.functions.get(function as usize)?;
        Some((index, self.types.get(index as usize)?))
    }

    /// Its parameters.
    pub(super) fn params(&self, function: u32) -> u32 {
        self.type_of(function).map_or(0, |(_, ty)| count(ty.params().len()))
    }
}

/// A module never has more of anything than its indices can count.
pub(super) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A core module that is being rewritten.
pub(super) struct Rewriter<'l, 'a> {
    layout: &'l Layout<'a>,
    /// How far the indices of defined functions move for those who call them.
    moved_by: u32,
    /// The bodies in place of the module's own.
    pub(super) bodies: Vec<Function>,
    /// Functions after the module's own, with the index of their type.
    pub(super) added: Vec<(u32, Function)>,
    /// Mutable globals after the module's own, which begin at zero.
    pub(super) globals: Vec<ValType>,
    /// What is exported in place of the module's own functions.
    pub(super) exports: HashMap<&'a str, u32>,
    has_imports: bool,
    has_globals: bool,
}

impl<'l, 'a> Rewriter<'l, 'a> {
    /// Callers of the module's own functions will find them behind the import of `probe` and `further` more.
    pub(super) fn new(layout: &'l Layout<'a>, further: u32) -> Self {
        Self {
            layout,
            moved_by: 1 + further,
            bodies: Vec::new(),
            added: Vec::new(),
            globals: Vec::new(),
            exports: HashMap::new(),
            has_imports: false,
            has_globals: false,
        }
    }

    /// The index of `probe`: the last of the imports.
    pub(super) fn probe(&self) -> u32 {
        self.layout.imported
    }

    /// The index that the next function to be added gets.
    pub(super) fn next_function(&self) -> u32 {
        count(self.layout.functions.len() + 1 + self.added.len())
    }

    /// The index of `() -> ()`; the type of `probe` is the one before it.
    pub(super) fn nullary(&self) -> u32 {
        count(self.layout.types.len() + 1)
    }

    /// The whole module.
    pub(super) fn finish(mut self) -> std::result::Result<Vec<u8>, PolicyError> {
        let mut module = Module::new();
        let core = self.layout.core;
        self.parse_core_module(&mut module, Parser::new(0), core)
            .map_err(|error| refused(error.to_string()))?;
        Ok(module.finish())
    }

    fn import(&mut self, imports: &mut ImportSection) {
        self.has_imports = true;
        imports.import("$root", "probe", EntityType::Function(self.nullary() - 1));
    }

    fn add_globals(&mut self, globals: &mut GlobalSection) {
        self.has_globals = true;
        for val_type in &self.globals {
            let zero =
                if *val_type == ValType::I64 { ConstExpr::i64_const(0) } else { ConstExpr::i32_const(0) };
            globals.global(GlobalType { val_type: *val_type, mutable: true, shared: false }, &zero);
        }
    }
}

impl Reencode for Rewriter<'_, '_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32> {
        Ok(if function < self.layout.imported { function } else { function + self.moved_by })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32, ValType::I64], []);
        types.ty().function([], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_import_section(self, imports, section)?;
        self.import(imports);
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_function_section(self, functions, section)?;
        for (ty, _) in &self.added {
            functions.function(*ty);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_global_section(self, globals, section)?;
        self.add_globals(globals);
        Ok(())
    }

    fn parse_export(&mut self, exports: &mut ExportSection, export: wasmparser::Export<'_>) -> Result<()> {
        match self.exports.get(export.name) {
            Some(function) if export.kind == ExternalKind::Func => {
                exports.export(export.name, wasm_encoder::ExportKind::Func, *function);
                Ok(())
            }
            _ => utils::parse_export(self, exports, export),
        }
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        _: wasmparser::CodeSectionReader<'_>,
    ) -> Result<()> {
        for body in self.bodies.iter().chain(self.added.iter().map(|(_, body)| body)) {
            code.function(body);
        }
        Ok(())
    }

    fn parse_custom_section(&mut self, _: &mut Module, _: wasmparser::CustomSectionReader<'_>) -> Result<()> {
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<()> {
        use SectionId as Id;
        let is_past_imports = !matches!(before, Some(Id::Type | Id::Import | Id::Custom));
        if is_past_imports && !self.has_imports {
            let mut imports = ImportSection::new();
            self.import(&mut imports);
            module.section(&imports);
        }
        let is_past_globals = is_past_imports
            && !matches!(before, Some(Id::Function | Id::Table | Id::Memory | Id::Tag | Id::Global));
        if is_past_globals && !self.has_globals {
            let mut globals = GlobalSection::new();
            self.add_globals(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }
}
