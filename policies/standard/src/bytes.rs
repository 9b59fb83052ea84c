//! Little-endian integers and short text, written once and read in place. Reading past the end gives none.

use alloc::vec::Vec;
use proviso_sdk::Decimal;

/// Reads from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length or an offset.
    pub(crate) fn size(&mut self) -> Option<usize> {
        self.array().and_then(|bytes| usize::try_from(u32::from_le_bytes(bytes)).ok())
    }

    pub(crate) fn decimal(&mut self) -> Option<Decimal> {
        self.array().map(|bytes| Decimal::from_units(i128::from_le_bytes(bytes)))
    }

    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.size()?;
        self.take(length)
    }
}

pub(crate) fn put_size(bytes: &mut Vec<u8>, size: usize) {
    // A form that is too long for this is refused by its length long before it is read.
    bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
}

pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_size(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_decimal(bytes: &mut Vec<u8>, decimal: Decimal) {
    bytes.extend_from_slice(&decimal.units().to_le_bytes());
}
