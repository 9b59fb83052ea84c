//! A usage report out of totals, and out of the journal where they end.

use super::{
    FORMAT, Grain, Kind,
    counted::{Counted, MOST_LATE, Payers},
    journal::UsageJournal,
    pieces::{How, Piece, compose},
    totals::{MODEL, Totals, read_index},
};
use crate::{
    error::EngineError,
    reads::parse,
    report::{Collector, GroupBy, GroupKey, UsageReport},
};
use proviso_decide::AHEAD;
use proviso_ledger::{
    model::{
        ids::{CustomerId, Seq},
        time::{Moment, Timestamp, Zone},
    },
    state::ImportedSpan,
};
use proviso_store::{RollupCursor, RollupRow, RollupSpan, RollupStore, Store, StoredEntry};

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// What a report is collected into, and what it cost to read.
pub(crate) struct ByTotals<'a> {
    store: &'a dyn Store,
    rollups: &'a dyn RollupStore,
    customer: &'a CustomerId,
    report: &'a UsageReport,
    zone: Zone,
    imported: Option<ImportedSpan>,
    as_of: Seq,
    collector: Collector,
    /// Up to which entry each part of the time is collected.
    collected: Vec<(Piece, Seq)>,
    payers: Payers<'a>,
    read: u64,
}

/// Collects a report out of totals; none when it is about what they don't have, or there are none. Returns how much was read,
/// too, in entries.
///
/// # Errors
/// A damaged journal, or the store's.
pub(crate) async fn collect(
    store: &dyn Store,
    customer: &CustomerId,
    report: &UsageReport,
    imported: Option<ImportedSpan>,
    as_of: Seq,
    after: Option<GroupKey>,
) -> Result<Option<(Collector, u64)>, EngineError> {
    let is_other = |by: &GroupBy| matches!(by, GroupBy::Attribute(name) if name != MODEL);
    let (Some(rollups), false) = (store.rollup_store(), report.group_by.iter().any(is_other)) else {
        return Ok(None);
    };
    let (Some(first), Some(last)) = (
        store.entries(customer, 0, 1).await?.into_iter().next(),
        store.entries_before(customer, None, 1).await?.into_iter().next(),
    ) else {
        return Ok(Some((Collector::new(after), 2)));
    };
    // There is no usage before and after this, in whole days, so that no slot is cut.
    let usual = (first.at.plus_micros(-MOST_LATE), last.at.plus_micros(AHEAD));
    let (earliest, latest) =
        imported.map_or(usual, |imported| (usual.0.min(imported.earliest), usual.1.max(imported.latest)));
    let earliest = Grain::Day.start(Grain::Day.slot(earliest));
    let latest = Grain::Day.start(Grain::Day.slot(latest) + 1);
    let zone = report.zone.clone().unwrap_or_default();
    let pieces = compose(report, &zone, report.from.max(earliest), report.to.min(latest));
    let mut by_totals = ByTotals {
        store,
        rollups,
        customer,
        report,
        zone,
        imported,
        as_of: as_of.min(last.seq),
        collector: Collector::new(after),
        collected: Vec::new(),
        payers: Payers::new(store, customer),
        read: 2,
    };
    for piece in pieces {
        if !by_totals.take(piece).await? {
            return Ok(None);
        }
    }
    by_totals.adjust().await?;
    let ByTotals { collector, read, .. } = by_totals;
    // So many groups were given up that what is left of the others has no end to go on from.
    if collector.is_blank() {
        return Ok(None);
    }
    Ok(Some((collector, read)))
}

impl ByTotals<'_> {
    /// Collects what the totals say of a piece; false when they are not of this host's format.
    async fn take(&mut self, piece: Piece) -> Result<bool, EngineError> {
        let grain = match piece.how {
            How::Slots(grain) => grain,
            How::Part | How::Uneven => Grain::Quarter,
        };
        let slots = grain.slot(piece.from)..grain.slot(Timestamp(piece.to.0.saturating_sub(1))) + 1;
        let of_entities = self.report.entity.is_some() || self.report.group_by.contains(&GroupBy::Entity);
        let mut kinds = vec![Kind::Plain, if of_entities { Kind::OfEntity } else { Kind::OfEntities }];
        if self.report.entity.is_some() {
            kinds.retain(|kind| *kind != Kind::Plain);
        }
        let is_part = matches!(piece.how, How::Part | How::Uneven);
        if is_part {
            kinds.push(Kind::Index);
        }
        let spans: Vec<_> = kinds
            .iter()
            .map(|kind| RollupSpan { grain: grain.number(), kind: kind.number(), slots: slots.clone() })
            .collect();
        let (RollupCursor { through, format }, rows) = self.rollups.rollups(self.customer, &spans).await?;
        if format != FORMAT && format != 0 {
            return Ok(false);
        }
        self.read = self.read.saturating_add(1 + rows.len() as u64 / 16);
        let (index, totals): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.id.kind == Kind::Index.number());
        if !is_part {
            self.add_totals(grain, &totals)?;
            self.collected.push((piece, through));
            return Ok(true);
        }
        let Some(index) = index.first().map(read_index).transpose()? else {
            // Nothing was used in it, as far as the totals go.
            self.collected.push((piece, through));
            return Ok(true);
        };
        let is_whole = piece.how == How::Part && index.first >= piece.from && index.last < piece.to;
        if is_whole {
            self.add_totals(grain, &totals)?;
            self.collected.push((piece, through));
            return Ok(true);
        }
        let until = through.min(self.as_of);
        if index.first < piece.to && index.last >= piece.from {
            for (first, last) in index.runs {
                self.add_run(piece, first, last.min(until)).await?;
            }
        }
        self.collected.push((piece, until));
        Ok(true)
    }

    fn add_totals(&mut self, grain: Grain, rows: &[RollupRow]) -> Result<(), EngineError> {
        let mut slot: Option<(i64, Moment)> = None;
        for row in rows {
            let totals = Totals::read(row)?;
            let is_of = self.report.feature.as_ref().is_none_or(|feature| totals.feature == *feature)
                && self.report.entity.as_ref().is_none_or(|entity| totals.entities.contains(entity));
            if !is_of {
                continue;
            }
            let moment = match &slot {
                Some((number, moment)) if *number == row.id.slot => *moment,
                _ => self.zone.moment(grain.start(row.id.slot)),
            };
            slot = Some((row.id.slot, moment));
            let key = |payer: Option<&str>| -> GroupKey {
                let value = |by: &GroupBy| match by {
                    GroupBy::Feature => Some(totals.feature.to_string()),
                    GroupBy::Entity => totals.entities.first().map(ToString::to_string),
                    GroupBy::Attribute(_) => totals.model.clone(),
                    GroupBy::Imported => Some(totals.imported.to_string()),
                    GroupBy::Category => payer.filter(|payer| !payer.is_empty()).map(str::to_owned),
                    GroupBy::Hour | GroupBy::Day | GroupBy::Month => by.label(&moment),
                };
                self.report.group_by.iter().map(value).collect()
            };
            if self.report.by_category() {
                for (payer, (entries, charges, cost)) in &totals.paid {
                    let (credit, imported) = (&totals.credit, if totals.imported { *charges } else { 0 });
                    self.collector.add(key(Some(payer)), |tally| {
                        tally.merge(*entries, *charges, imported, (credit, *cost), None);
                    });
                }
            } else {
                let Totals { entries, charges, credit, cost, quantities, .. } = &totals;
                let imported = if totals.imported { *charges } else { 0 };
                self.collector.add(key(None), |tally| {
                    tally.merge(*entries, *charges, imported, (credit, *cost), Some(quantities));
                });
            }
        }
        Ok(())
    }

    /// Collects a piece's usage in a run of entries.
    async fn add_run(&mut self, piece: Piece, first: Seq, last: Seq) -> Result<(), EngineError> {
        let mut at = first.saturating_sub(1);
        while at < last {
            let page = self.store.entries(self.customer, at, PAGE).await?;
            let Some(newest) = page.last() else { break };
            at = newest.seq;
            for stored in page.iter().take_while(|stored| stored.seq <= last) {
                self.add_entry(stored, |at, _| (piece.from..piece.to).contains(&at).then_some(true)).await?;
            }
        }
        Ok(())
    }

    /// Adds the entries that came after what was collected, and takes off those after the report's last one.
    async fn adjust(&mut self) -> Result<(), EngineError> {
        let collected = std::mem::take(&mut self.collected);
        let as_of = self.as_of;
        let throughs = collected.iter().map(|(_, through)| *through);
        let (Some(from), Some(to)) = (throughs.clone().chain([as_of]).min(), throughs.chain([as_of]).max())
        else {
            return Ok(());
        };
        if collected.is_empty() || from == to {
            return Ok(());
        }
        let (span, imported) = (self.report.from..self.report.to, self.imported);
        let mut journal = UsageJournal::new(self.store, self.customer, span, imported, (from, to)).await?;
        loop {
            let page = journal.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for stored in &page {
                let sign = |time: Timestamp, seq: Seq| {
                    let place = collected.partition_point(|(piece, _)| piece.to <= time);
                    let (_, through) = collected.get(place).filter(|(piece, _)| piece.from <= time)?;
                    match (seq <= *through, seq <= as_of) {
                        (false, true) => Some(true),
                        (true, false) => Some(false),
                        _ => None,
                    }
                };
                self.add_entry(stored, sign).await?;
            }
        }
    }

    /// Adds an entry or takes it off, as `sign` says of its time of use and number.
    async fn add_entry(
        &mut self,
        stored: &StoredEntry,
        sign: impl Fn(Timestamp, Seq) -> Option<bool>,
    ) -> Result<(), EngineError> {
        self.read = self.read.saturating_add(1);
        let entry = parse(self.customer, stored)?;
        let Some(counted) = Counted::of(&entry).filter(|counted| self.report.is_of(counted.usage)) else {
            return Ok(());
        };
        let Some(adds) = sign(counted.at, stored.seq) else { return Ok(()) };
        let moment = self.zone.moment(counted.at);
        let paid = match self.report.by_category() {
            true => Some(self.payers.of(&entry, counted.cost).await?),
            false => None,
        };
        self.collector.count(self.report, &counted, &moment, paid.as_ref(), adds);
        Ok(())
    }
}
