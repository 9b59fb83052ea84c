//! Tiers as the table holds them, and which part of an amount falls into which tier.

use crate::bytes::{Bytes, put_decimal, put_size, put_text};
use alloc::{string::String, vec::Vec};
use proviso_sdk::{Context, OutOfRange, Price, Quantity, Usage};

/// No counter: each usage starts at zero.
const NO_COUNTER: u8 = u8::MAX;

/// A tier to write: its end, its price and what its line says.
pub(crate) type TierEntry = (Quantity, Price, String);

/// A list of tiers, read in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TierList<'a> {
    counter: u8,
    count: usize,
    rows: Bytes<'a>,
}

/// One tier: up to and with this total, at this price.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TierRow<'a> {
    pub(crate) up_to: Quantity,
    pub(crate) price: Price,
    pub(crate) label: &'a str,
}

impl<'a> TierList<'a> {
    pub(crate) fn write(bytes: &mut Vec<u8>, counter: Option<usize>, rows: &[TierEntry]) {
        bytes.push(counter.and_then(|place| u8::try_from(place).ok()).unwrap_or(NO_COUNTER));
        put_size(bytes, rows.len());
        for (up_to, price, label) in rows {
            put_decimal(bytes, up_to.decimal());
            put_decimal(bytes, price.decimal());
            put_text(bytes, label);
        }
    }

    pub(crate) fn open(mut bytes: Bytes<'a>) -> Option<Self> {
        Some(Self { counter: bytes.u8()?, count: bytes.size()?, rows: bytes })
    }

    /// The total before this usage.
    pub(crate) fn before(&self, usage: &Usage, context: &Context) -> Quantity {
        if self.counter == NO_COUNTER {
            Quantity::ZERO
        } else {
            context.quantity_counter(usize::from(self.counter)).before(usage)
        }
    }

    pub(crate) fn rows(self) -> impl Iterator<Item = TierRow<'a>> {
        let mut rows = self.rows;
        (0..self.count).map_while(move |_| {
            let (up_to, price) = (Quantity::new(rows.decimal()?), Price::new(rows.decimal()?));
            Some(TierRow { up_to, price, label: core::str::from_utf8(rows.text()?).ok()? })
        })
    }

    /// What of `amount`, after the total `before`, falls into each tier that it touches.
    pub(crate) fn split(
        self,
        before: Quantity,
        amount: Quantity,
    ) -> Result<impl Iterator<Item = (TierRow<'a>, Quantity)>, OutOfRange> {
        let after = before.plus(amount)?;
        let mut from = before;
        Ok(self.rows().filter_map(move |row| {
            let part = row.up_to.min(after).above(from);
            from = from.max(row.up_to.min(after));
            part.is_positive().then_some((row, part))
        }))
    }
}
