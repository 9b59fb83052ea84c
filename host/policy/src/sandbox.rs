//! Where policies run: the engine's settings, the one import, and for each call a fresh store that enforces the limits.
//! Nothing survives a call, and no clock, file or randomness is within reach.

use crate::{
    fault::{Cause, PolicyError},
    limits::{Budget, Limits},
    ticker::Ticker,
    trusted,
};
use std::{sync::Arc, time::Duration};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig,
    ResourceLimiter, Store, StoreContextMut, UpdateDeadline, WasmFeatures,
    component::{Linker, WasmStr},
};

const PAGE_BYTES: usize = 64 << 10;

/// Fuel that a page of memory costs beyond those that a slot keeps: the kernel maps and clears it when it is touched, and takes
/// it back after the call. No price of an instruction can be that high, so it is counted when the call ends.
const PAGE_FUEL: u64 = 30_000;

/// Fuel that a call of `log` costs, since the host's work is not counted in instructions.
const LOG_FUEL: u64 = 1_000;

/// The engine's settings as far as they decide what code is made: the same in the server and in its compiler's process.
pub(crate) fn code_config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES), true)
        .wasm_component_model(true)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .operator_cost(prices())
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

/// What instructions cost in fuel where it is more than one unit: about one for each nanosecond that they take at most, as
/// `tests/prices.rs` measures it.
fn prices() -> OperatorCost {
    let mut cost = OperatorCost::new();
    // Calls of the host, which do nothing when they are asked for nothing.
    for price in [&mut cost.MemoryGrow, &mut cost.TableGrow] {
        *price = 60;
    }
    cost.RefFunc = 100;
    for price in [&mut cost.TableSet, &mut cost.TableInit, &mut cost.ElemDrop, &mut cost.DataDrop] {
        *price = 20;
    }
    for price in [
        &mut cost.MemoryCopy,
        &mut cost.MemoryFill,
        &mut cost.MemoryInit,
        &mut cost.TableCopy,
        &mut cost.TableFill,
    ] {
        *price = 10;
    }
    cost.variable.table_copy_per_element = 4;
    cost.variable.table_init_per_element = 4;
    cost.variable.table_fill_per_element = 2;
    // Of fresh memory, whose larger part is counted when the call ends.
    cost.variable.memory_grow_per_page = u8::MAX;
    for price in [
        &mut cost.I32DivS,
        &mut cost.I32DivU,
        &mut cost.I32RemS,
        &mut cost.I32RemU,
        &mut cost.I64DivS,
        &mut cost.I64DivU,
        &mut cost.I64RemS,
        &mut cost.I64RemU,
        &mut cost.F32Div,
        &mut cost.F64Div,
        &mut cost.F32x4Div,
        &mut cost.F64x2Div,
        &mut cost.F32Sqrt,
        &mut cost.F64Sqrt,
        &mut cost.F32x4Sqrt,
        &mut cost.F64x2Sqrt,
    ] {
        *price = 8;
    }
    for price in [
        &mut cost.F32DemoteF64,
        &mut cost.F64PromoteF32,
        &mut cost.F32x4ConvertI32x4U,
        &mut cost.I32x4TruncSatF32x4S,
        &mut cost.I32x4TruncSatF32x4U,
        &mut cost.I32x4TruncSatF64x2SZero,
        &mut cost.I32x4TruncSatF64x2UZero,
        &mut cost.F32x4Max,
        &mut cost.F32x4Min,
        &mut cost.F64x2Max,
        &mut cost.F64x2Min,
    ] {
        *price = 4;
    }
    cost
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
    _ticker: Ticker,
}

/// Is told by a module that was rewritten for an instrument: the fuel that is left, and what the probe tells.
pub(crate) type Probe = Arc<dyn Fn(u64, u32, u64) + Send + Sync>;

impl Sandbox {
    pub(crate) fn new(limits: Limits) -> Result<Self, PolicyError> {
        Self::with_probe(limits, None)
    }

    /// Also for modules that import `probe`, which no module does that passed inspection.
    pub(crate) fn with_probe(limits: Limits, probe: Option<Probe>) -> Result<Self, PolicyError> {
        let broken = |error: wasmtime::Error| PolicyError::Sandbox(format!("{error:#}"));
        let engine = Engine::new(&pooled_config(&limits)).map_err(broken)?;
        let mut linker = Linker::new(&engine);
        linker.root().func_wrap("log", log).map_err(broken)?;
        if let Some(probe) = probe {
            let tell = move |store: StoreContextMut<'_, Guest>, (place, bits): (u32, u64)| {
                probe(store.get_fuel()?, place, bits);
                Ok(())
            };
            linker.root().func_wrap("probe", tell).map_err(broken)?;
        }
        let ticker = Ticker::start(engine.weak()).map_err(|error| PolicyError::Sandbox(error.to_string()))?;
        Ok(Self { engine, linker, limits, _ticker: ticker })
    }

    /// A store for one call.
    pub(crate) fn store(&self, budget: &Budget) -> wasmtime::Result<Store<Guest>> {
        let guest = Guest {
            budget: *budget,
            began_at: None,
            memory_bytes: 0,
            table_elements: self.limits.table_elements,
            log_lines_left: self.limits.log_lines,
            log_bytes_left: self.limits.log_bytes,
            log: Vec::new(),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_fuel(budget.fuel)?;
        // Most calls end before the first tick, and only those that do not ask for the time.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let now = trusted::thread_time();
            let guest = store.data_mut();
            let began_at = *guest.began_at.get_or_insert(now);
            let left = guest.budget.ticks_left(now.saturating_sub(began_at));
            Ok(left.map_or(UpdateDeadline::Interrupt, UpdateDeadline::Continue))
        });
        store.set_hostcall_fuel(budget.returned_bytes);
        Ok(store)
    }
}

/// The host's side of one running policy: what it may still use and what it said.
pub(crate) struct Guest {
    budget: Budget,
    /// This thread's processor time at the call's first tick.
    began_at: Option<Duration>,
    /// The size of its memories so far.
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

impl Guest {
    /// The price of its memory beyond what a slot keeps. It is the size that counts, not what was touched, which nothing
    /// measures.
    pub(crate) fn memory_fuel(&self, limits: &Limits) -> u64 {
        let beyond = self.memory_bytes.saturating_sub(limits.resident_bytes);
        u64::try_from(beyond.div_ceil(PAGE_BYTES)).unwrap_or(u64::MAX).saturating_mul(PAGE_FUEL)
    }
}

/// A resource that ran out, on its way from the limiter to the fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Exceeded(pub(crate) Cause);

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        from_bytes: usize,
        asked_bytes: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit_bytes = self.budget.memory_bytes;
        if asked_bytes > limit_bytes {
            return Err(Exceeded(Cause::MemoryLimit { asked_bytes, limit_bytes }).into());
        }
        self.memory_bytes = self.memory_bytes.saturating_add(asked_bytes.saturating_sub(from_bytes));
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
