//! How large a module is, counted before anything is compiled, and the bounds on it.

use crate::fault::{Finding, Rejection};
use serde::{Deserialize, Serialize};

/// How large a module is; as a part of [`crate::Limits`], how large it may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The whole file.
    pub bytes: u64,
    /// Components within components.
    pub depth: u64,
    /// Component and instance types within one type section, which is at least as many as are within one another.
    pub type_depth: u64,
    /// Core modules.
    pub modules: u64,
    /// Instances that one instantiation makes, nested ones multiplied out.
    pub instances: u64,
    /// Bytes that say what modules and components import, export and consist of, as often as they are instantiated: what
    /// linking them goes through.
    pub linked_bytes: u64,
    /// Functions with a body.
    pub functions: u64,
    /// The largest body, in bytes.
    pub function_bytes: u64,
    /// The most locals of one function.
    pub locals: u64,
    /// Globals, over all core modules.
    pub globals: u64,
    /// Memories that one instantiation makes.
    pub memories: u64,
    /// Their initial size, in bytes.
    pub memory_bytes: u64,
    /// Tables that one instantiation makes.
    pub tables: u64,
    /// Their initial elements.
    pub table_elements: u64,
}

impl Shape {
    pub(crate) fn within(&self, most: &Self) -> Result<(), Rejection> {
        let rows = [
            ("module_too_large", "bytes", self.bytes, most.bytes),
            ("nested_too_deep", "levels of nested components", self.depth, most.depth),
            ("types_nested_too_deep", "nested types in one section", self.type_depth, most.type_depth),
            ("too_many_modules", "core modules", self.modules, most.modules),
            ("too_many_instances", "instances", self.instances, most.instances),
            ("links_too_large", "bytes of linked declarations", self.linked_bytes, most.linked_bytes),
            ("too_many_functions", "functions", self.functions, most.functions),
            ("function_too_large", "bytes in one function", self.function_bytes, most.function_bytes),
            ("too_many_locals", "locals in one function", self.locals, most.locals),
            ("too_many_globals", "globals", self.globals, most.globals),
            ("too_many_memories", "memories", self.memories, most.memories),
            ("memory_too_large", "bytes of initial memory", self.memory_bytes, most.memory_bytes),
            ("too_many_tables", "tables", self.tables, most.tables),
            ("table_too_large", "initial table elements", self.table_elements, most.table_elements),
        ];
        let findings: Vec<_> = rows
            .into_iter()
            .filter(|(_, _, found, limit)| found > limit)
            .map(|(code, what, found, limit)| Finding {
                code,
                place: "module".to_owned(),
                detail: format!("{found} {what}, the limit is {limit}"),
            })
            .collect();
        if findings.is_empty() { Ok(()) } else { Err(Rejection(findings)) }
    }
}
