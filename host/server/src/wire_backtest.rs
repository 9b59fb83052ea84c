//! A backtest's report in the words of the wire contract: `proviso backtest --json` prints the same.

use crate::wire;
use proviso_api::backtest::{
    BacktestBalance, BacktestChange, BacktestDecision, BacktestFailure, BacktestFlow, BacktestOfCustomer,
    BacktestPeriods, BacktestReport, BacktestRow, BacktestSums,
};
use proviso_engine::backtests::{Answer, Cell, Change, CustomerReport, Flow, Report, RowKey};
use proviso_ledger::model::ids::CustomerId;
use std::{borrow::Cow, collections::BTreeMap};

/// The report.
#[must_use]
pub fn backtest_report(report: &Report) -> BacktestReport<'_> {
    BacktestReport {
        customers: report.customers,
        customers_changed: report.changed,
        entries: report.entries,
        total: sums(&report.sum()),
        by_feature: rows(&report.rows),
        periods: periods(&report.flows),
        new_refusals: &report.refusals,
        by_customer: report.by_customer.iter().map(of_customer).collect(),
        changes: report.changes.iter().map(change).collect(),
        left_out: &report.left_out,
        failed: report
            .failed
            .iter()
            .map(|(customer, why)| BacktestFailure { customer, detail: Cow::Borrowed(why) })
            .collect(),
        failures: report.failures,
    }
}

fn sums(cell: &Cell) -> BacktestSums {
    let Cell { decisions, differ, recorded, candidate, newly_refused, newly_accepted } = *cell;
    let difference = candidate.saturating_sub(recorded);
    BacktestSums { decisions, differ, recorded, candidate, difference, newly_refused, newly_accepted }
}

fn rows(rows: &BTreeMap<RowKey, Cell>) -> Vec<BacktestRow<'_>> {
    rows.iter()
        .map(|(key, cell)| BacktestRow {
            feature: &key.feature,
            credit: &key.credit,
            month: &key.month,
            sums: sums(cell),
        })
        .collect()
}

fn periods((recorded, candidate): &(Flow, Flow)) -> BacktestPeriods {
    let flow = |Flow { issued, rolled_over, fees }: Flow| BacktestFlow { issued, rolled_over, fees };
    BacktestPeriods { recorded: flow(*recorded), candidate: flow(*candidate) }
}

fn of_customer((customer, report): &(CustomerId, CustomerReport)) -> BacktestOfCustomer<'_> {
    BacktestOfCustomer {
        customer,
        total: sums(&report.total),
        new_refusals: &report.refusals,
        periods: periods(&report.flows),
        by_feature: rows(&report.rows),
        balances: report
            .left
            .iter()
            .map(|(credit, (recorded, candidate))| BacktestBalance {
                credit,
                available: recorded.available,
                overage: recorded.overage,
                candidate_available: candidate.available,
                candidate_overage: candidate.overage,
            })
            .collect(),
    }
}

fn change(change: &Change) -> BacktestChange<'_> {
    BacktestChange {
        customer: &change.customer,
        entry: change.entry,
        at: change.at,
        feature: &change.feature,
        recorded: answer(&change.recorded),
        candidate: change.candidate.as_ref().map(answer),
    }
}

fn answer(answer: &Answer) -> BacktestDecision<'_> {
    BacktestDecision {
        outcome: answer.outcome,
        cost: answer.cost,
        code: answer.code.as_deref(),
        lines: wire::lines(&answer.lines),
    }
}
