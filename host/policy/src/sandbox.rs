//! Where policies run: the engine's settings, the one import, and for each call a fresh store that enforces the limits.
//! Nothing survives a call, and no clock, file or randomness is within reach.

use crate::{
    fault::{Cause, PolicyError},
    heartbeat::Heartbeat,
    limits::{Budget, Limits},
};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig,
    ResourceLimiter, Store, StoreContextMut, WasmFeatures,
    component::{Linker, WasmStr},
};

/// Fuel that a call of `log` costs, since the host's work is not counted in instructions.
const LOG_FUEL: u64 = 500;

/// The engine's settings as far as they decide what code is made: the same in the server and in its compiler's process.
pub(crate) fn code_config(limits: &Limits) -> Config {
    let mut cost = OperatorCost::new();
    // Fresh pages are the kernel's work, dearer than any instruction; this is the highest price there is.
    cost.variable.memory_grow_per_page = u8::MAX;
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES), true)
        .wasm_component_model(true)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .operator_cost(cost)
        .epoch_interruption(true)
        // Data structures that only concurrent components need cost every call 0.5 to 0.9 µs.
        .concurrency_support(false)
        // Memory is filled by copying, not by mapping a file: a slot then serves any module without a system call, and
        // a loaded module holds fewer maps.
        .memory_init_cow(false)
        // Traps name their functions without either, and each was a part of what a loaded module takes.
        .generate_address_map(false)
        .native_unwind_info(false)
        .max_wasm_stack(limits.stack_bytes);
    config
}

fn pooled_config(limits: &Limits) -> Config {
    // Without a slot every call would wait for ever.
    let slots = limits.instances.max(1);
    let per_component = u32::try_from(limits.shape.instances).unwrap_or(u32::MAX);
    let memories = u32::try_from(limits.shape.memories).unwrap_or(u32::MAX);
    let tables = u32::try_from(limits.shape.tables).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(8).max(per_component))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2).max(tables))
        .max_core_instances_per_component(per_component)
        .max_memories_per_component(memories)
        .max_memories_per_module(memories)
        .max_tables_per_component(tables)
        .max_tables_per_module(tables)
        .table_elements(limits.table_elements)
        .max_memory_size(limits.memory_bytes())
        // As few slots as there are calls at once, so that the memory they lie in stays in the processor's cache.
        .max_unused_warm_slots(0)
        // Zeroing what a small instance touched is far cheaper than giving it back and faulting it in again.
        .linear_memory_keep_resident(limits.resident_bytes)
        .table_keep_resident(limits.resident_bytes)
        // It may miss pages that were swapped out.
        .pagemap_scan(Enabled::No);
    let mut config = code_config(limits);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Engine, import and limits of one process. Modules share it.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) limits: Limits,
    _heartbeat: Heartbeat,
}

impl Sandbox {
    pub(crate) fn new(limits: Limits) -> Result<Self, PolicyError> {
        let broken = |error: wasmtime::Error| PolicyError::Sandbox(format!("{error:#}"));
        let engine = Engine::new(&pooled_config(&limits)).map_err(broken)?;
        let mut linker = Linker::new(&engine);
        linker.root().func_wrap("log", log).map_err(broken)?;
        let heartbeat =
            Heartbeat::start(engine.weak()).map_err(|error| PolicyError::Sandbox(error.to_string()))?;
        Ok(Self { engine, linker, limits, _heartbeat: heartbeat })
    }

    /// A store for one call.
    pub(crate) fn store(&self, budget: &Budget) -> wasmtime::Result<Store<Guest>> {
        let guest = Guest {
            memory_bytes: budget.memory_bytes,
            table_elements: self.limits.table_elements,
            log_lines_left: self.limits.log_lines,
            log_bytes_left: self.limits.log_bytes,
            log: Vec::new(),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_fuel(budget.fuel)?;
        store.set_epoch_deadline(budget.deadline_ticks());
        store.set_hostcall_fuel(budget.returned_bytes);
        Ok(store)
    }
}

/// The host's side of one running policy: what it may still use and what it said.
pub(crate) struct Guest {
    memory_bytes: usize,
    table_elements: usize,
    log_lines_left: usize,
    log_bytes_left: usize,
    pub(crate) log: Vec<String>,
}

/// Keeps a line of log as long as lines and bytes are left. The price is the same whether it is kept or dropped.
fn log(mut store: StoreContextMut<'_, Guest>, (message,): (WasmStr,)) -> wasmtime::Result<()> {
    let fuel = store.get_fuel()?;
    store.set_fuel(fuel.saturating_sub(LOG_FUEL))?;
    let guest = store.data();
    if guest.log_lines_left == 0 || guest.log_bytes_left == 0 {
        return Ok(());
    }
    let line: String = {
        let text = message.to_str(&store)?;
        let end = text.floor_char_boundary(guest.log_bytes_left);
        let kept = text.get(..end).unwrap_or_default();
        kept.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
    };
    let guest = store.data_mut();
    guest.log_lines_left -= 1;
    guest.log_bytes_left = guest.log_bytes_left.saturating_sub(line.len());
    guest.log.push(line);
    Ok(())
}

/// A resource that ran out, on its way from the limiter to the fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Exceeded(pub(crate) Cause);

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _: usize, asked_bytes: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit_bytes = self.memory_bytes;
        if asked_bytes > limit_bytes {
            return Err(Exceeded(Cause::MemoryLimit { asked_bytes, limit_bytes }).into());
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, asked: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.table_elements;
        if asked > limit {
            return Err(Exceeded(Cause::TableLimit { asked, limit }).into());
        }
        Ok(true)
    }
}
