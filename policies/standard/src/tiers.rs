//! Tiers as the table holds them. In: an amount and the total before it. Out: what falls into each tier.

use crate::bytes::{Bytes, put_size, put_text};
use alloc::{string::String, vec::Vec};
use proviso_sdk::{Amount, OutOfRange, Price, types::Context};

/// No counter: each usage starts at zero.
const NO_COUNTER: u8 = u8::MAX;

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
    pub(crate) up_to: Amount,
    pub(crate) price: Price,
    pub(crate) label: &'a str,
}

impl<'a> TierList<'a> {
    pub(crate) fn write(bytes: &mut Vec<u8>, counter: Option<usize>, rows: &[(Amount, Price, String)]) {
        bytes.push(counter.and_then(|place| u8::try_from(place).ok()).unwrap_or(NO_COUNTER));
        put_size(bytes, rows.len());
        for (up_to, price, label) in rows {
            bytes.extend_from_slice(&up_to.0.to_le_bytes());
            bytes.extend_from_slice(&price.0.to_le_bytes());
            put_text(bytes, label);
        }
    }

    pub(crate) fn open(mut bytes: Bytes<'a>) -> Option<Self> {
        Some(Self { counter: bytes.u8()?, count: bytes.size()?, rows: bytes })
    }

    /// The total before this usage.
    pub(crate) fn before(&self, context: &Context) -> Amount {
        if self.counter == NO_COUNTER {
            Amount::ZERO
        } else {
            Amount(context.counter(usize::from(self.counter)).max(0))
        }
    }

    pub(crate) fn rows(self) -> impl Iterator<Item = TierRow<'a>> {
        let mut rows = self.rows;
        (0..self.count).map_while(move |_| {
            let (up_to, price) = (Amount(rows.i64()?), Price(rows.i64()?));
            Some(TierRow { up_to, price, label: core::str::from_utf8(rows.text()?).ok()? })
        })
    }

    /// What of `amount`, after the total `before`, falls into each tier that it touches.
    pub(crate) fn split(
        self,
        before: Amount,
        amount: Amount,
    ) -> Result<impl Iterator<Item = (TierRow<'a>, Amount)>, OutOfRange> {
        let after = before.plus(amount)?;
        let mut from = before;
        Ok(self.rows().filter_map(move |row| {
            let part = row.up_to.min(after).above(from);
            from = from.max(row.up_to.min(after));
            part.is_positive().then_some((row, part))
        }))
    }
}
