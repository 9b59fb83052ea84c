//! What a policy may use, in numbers.
//!
//! Bounds that decide a verdict (fuel, memory, tables, stack, sizes) are deterministic. The deadline is not, so it is
//! far above what the fuel allows: it is there for what fuel does not see.

use crate::shape::Shape;
use proviso_ledger::model::resources::ResourceClass;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// About one unit for each instruction, instantiation included.
    pub fuel: u64,
    /// Processor time after which the call is stopped whatever fuel it has left, so that what else the machine does is not
    /// counted; kept to within a few of [`Limits::TICK`].
    pub deadline: Duration,
    /// The linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// What the call may hand to the host (its result, or one log line), in bytes as the host would hold it.
    pub returned_bytes: usize,
}

/// What the calls of one policy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budgets {
    pub(crate) prepare: Budget,
    pub(crate) decision: Budget,
    pub(crate) period: Budget,
}

/// The bounds of every policy in one process, those of the default class where classes differ. [`Limits::default`] is what the server runs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// For `describe` and `prepare`, which parse settings and run once for each change of terms.
    pub prepare: Budget,
    /// For `rate` and `overage`.
    pub decision: Budget,
    /// For `close` and `open`, which read and name every grant of a customer and run once a period.
    pub period: Budget,
    /// The elements of one table.
    pub table_elements: usize,
    /// The native stack that a policy's frames may take, in bytes. Threads that decide need this much and 256 KiB more.
    pub stack_bytes: usize,
    /// A policy's compact form of its settings, in bytes.
    pub form_bytes: usize,
    /// Log lines kept of one call; the rest is dropped.
    pub log_lines: usize,
    /// Bytes of log kept of one call; the rest is dropped.
    pub log_bytes: usize,
    /// The largest shape that is compiled.
    pub shape: Shape,
    /// Instances that may live at once. Each takes 4 GiB of address space and a few memory maps, no memory until used.
    pub instances: u32,
    /// Memory that a slot keeps between two instances instead of giving it back, in bytes.
    pub resident_bytes: usize,
    /// Modules kept loaded: each takes about 0.1 MB of memory and up to 0.4 MB of its mapped code, a file descriptor, and
    /// three of the 65,530 memory maps that Linux gives a process by default.
    pub loaded_modules: usize,
}

impl Limits {
    /// How often calls are interrupted to see whether their time is over.
    pub const TICK: Duration = Duration::from_millis(5);

    /// What the calls of a policy of this class may use.
    pub(crate) fn budgets(&self, class: ResourceClass) -> Budgets {
        Budgets {
            prepare: self.prepare.of(class),
            decision: self.decision.of(class),
            period: self.period.of(class),
        }
    }

    /// How large a module of a policy of this class may be.
    #[must_use]
    pub fn shape(&self, class: ResourceClass) -> Shape {
        match class {
            ResourceClass::Small | ResourceClass::Default => self.shape,
            ResourceClass::Large => Shape {
                bytes: self.shape.bytes.saturating_mul(4),
                linked_bytes: self.shape.linked_bytes.saturating_mul(4),
                functions: self.shape.functions.saturating_mul(4),
                function_bytes: self.shape.function_bytes.saturating_mul(4),
                ..self.shape
            },
        }
    }

    /// The most memory that any call may have, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let Budgets { prepare, decision, period } = self.budgets(ResourceClass::Large);
        prepare.memory_bytes.max(decision.memory_bytes).max(period.memory_bytes)
    }
}

impl Budget {
    /// Fuel for each grant that a decision is handed, beyond the class's: a policy must be able to read and name all that a customer
    /// has, and only one that asks for grants is handed them.
    const FUEL_FOR_GRANT: u64 = 1_000;

    /// The same for a call that is handed so many grants.
    pub(crate) fn for_grants(self, grants: usize) -> Self {
        let more = u64::try_from(grants).unwrap_or(u64::MAX).saturating_mul(Self::FUEL_FOR_GRANT);
        Self { fuel: self.fuel.saturating_add(more), ..self }
    }

    /// A budget of the default class as another class has it: a quarter of the fuel and half of the memory, or ten times the
    /// fuel and eight times the memory up to 32 MiB.
    fn of(self, class: ResourceClass) -> Self {
        const LARGE_MEMORY_BYTES: usize = 32 << 20;
        match class {
            ResourceClass::Small => Self { fuel: self.fuel / 4, memory_bytes: self.memory_bytes / 2, ..self },
            ResourceClass::Default => self,
            ResourceClass::Large => Self {
                fuel: self.fuel.saturating_mul(10),
                memory_bytes: self
                    .memory_bytes
                    .max(LARGE_MEMORY_BYTES.min(self.memory_bytes.saturating_mul(8))),
                ..self
            },
        }
    }

    /// The ticks after which a call that took `elapsed` is looked at again; none once its time is over.
    pub(crate) fn ticks_left(&self, elapsed: Duration) -> Option<u64> {
        let left = self.deadline.checked_sub(elapsed).filter(|left| !left.is_zero())?;
        u64::try_from(left.as_micros().div_ceil(Limits::TICK.as_micros())).ok()
    }
}

impl Default for Limits {
    fn default() -> Self {
        let decision = Budget {
            fuel: 3_000_000,
            deadline: Duration::from_secs(1),
            memory_bytes: 4 << 20,
            returned_bytes: 1 << 20,
        };
        Self {
            prepare: Budget { fuel: 100_000_000, ..decision },
            decision,
            period: Budget { fuel: 20_000_000, memory_bytes: 32 << 20, returned_bytes: 8 << 20, ..decision },
            table_elements: 10_000,
            stack_bytes: 256 << 10,
            form_bytes: 64 << 10,
            log_lines: 32,
            log_bytes: 8 << 10,
            shape: Shape {
                bytes: 1 << 20,
                depth: 4,
                type_depth: 64,
                modules: 16,
                instances: 64,
                linked_bytes: 1 << 20,
                functions: 10_000,
                function_bytes: 128 << 10,
                locals: 2_000,
                globals: 1_000,
                memories: 1,
                memory_bytes: 4 << 20,
                tables: 16,
                table_elements: 10_000,
            },
            instances: 128,
            resident_bytes: 256 << 10,
            loaded_modules: 800,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_time() {
        let budget = Budget { deadline: Duration::from_millis(12), ..Limits::default().decision };
        for (elapsed_ms, ticks) in
            [(0, Some(3)), (2, Some(2)), (7, Some(1)), (11, Some(1)), (12, None), (90, None)]
        {
            assert_eq!(budget.ticks_left(Duration::from_millis(elapsed_ms)), ticks, "{elapsed_ms} ms");
        }
    }
}
