//! Counts since the start, for metrics.

use proviso_ledger::journal::{DecisionRecord, Entry, Event};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct EngineStats {
    entries: AtomicU64,
    batches: AtomicU64,
    conflicts: AtomicU64,
    write_failures: AtomicU64,
    sweep_failures: AtomicU64,
    policy_faults: AtomicU64,
    missed_periods: AtomicU64,
    rollbacks: AtomicU64,
    halted_top_ups: AtomicU64,
}

impl EngineStats {
    /// Counts a durable batch.
    pub(crate) fn committed(&self, entries: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.batches.fetch_add(u64::from(entries > 0), Ordering::Relaxed);
    }

    /// Counts a batch that has to be decided again.
    pub(crate) fn conflicted(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a write that failed.
    pub(crate) fn write_failed(&self) {
        self.write_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a customer for whom the sweeper could not write what is due.
    pub(crate) fn sweep_failed(&self) {
        self.sweep_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a decision in which a policy failed, and whether that left the end or the beginning of a period undone.
    pub(crate) fn policy_failed(&self, entry: &Entry) {
        self.policy_faults.fetch_add(1, Ordering::Relaxed);
        let is_turn = matches!(entry.event, Event::PeriodClosed(_) | Event::PeriodOpened(_));
        if is_turn && entry.decision().is_some_and(DecisionRecord::is_unmade) {
            self.missed_periods.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a canary that this host ended.
    pub(crate) fn rolled_back(&self) {
        self.rollbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Canaries that this host ended since they passed a limit.
    pub fn rollbacks(&self) -> u64 {
        self.rollbacks.load(Ordering::Relaxed)
    }

    /// Counts an alarm that top-ups are due and none is asked for.
    pub(crate) fn top_ups_halted(&self) {
        self.halted_top_ups.fetch_add(1, Ordering::Relaxed);
    }

    /// Alarms that top-ups are due and none is asked for, since they run away or payments fail.
    pub fn halted_top_ups(&self) -> u64 {
        self.halted_top_ups.load(Ordering::Relaxed)
    }

    /// Decisions in which a policy failed.
    pub fn policy_faults(&self) -> u64 {
        self.policy_faults.load(Ordering::Relaxed)
    }

    /// Ends and beginnings of periods that a failure left undone.
    pub fn missed_periods(&self) -> u64 {
        self.missed_periods.load(Ordering::Relaxed)
    }

    /// Durable entries.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Transactions that made them durable.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Batches that were decided again, since another host had written one of their customers or the catalog had changed.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Batches and changes of the catalog that were given up: the database failed, or other writers were always first.
    pub fn write_failures(&self) -> u64 {
        self.write_failures.load(Ordering::Relaxed)
    }

    /// Attempts of the sweeper to write what is due for a customer that failed; each is made again later.
    pub fn sweep_failures(&self) -> u64 {
        self.sweep_failures.load(Ordering::Relaxed)
    }
}
