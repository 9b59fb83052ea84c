//! Currencies by ISO 4217 code, with the decimal places of their minor units.

use crate::{decimal::Decimal, error::MoneyError};
use core::{fmt, str::FromStr};

/// A currency of ISO 4217 that is in use and has a minor unit, so no metals, testing codes or "no currency".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(&'static [u8; 4]);

impl Currency {
    /// The three capital letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        let code = self.0.split_last().and_then(|(_, code)| str::from_utf8(code).ok());
        // The table is ASCII.
        code.unwrap_or_default()
    }

    /// Decimal places of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    #[must_use]
    pub const fn minor_digits(self) -> u32 {
        let [.., digits] = *self.0;
        digits.wrapping_sub(b'0') as u32
    }

    /// The smallest amount that can be paid: 0.01 for EUR.
    #[must_use]
    pub const fn minor_unit(self) -> Decimal {
        Decimal::step(self.minor_digits())
    }

    /// Every currency, in the order of the codes.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(Self)
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(code: &str) -> Result<Self, MoneyError> {
        let found = TABLE.binary_search_by(|[a, b, c, _]| [*a, *b, *c].as_slice().cmp(code.as_bytes()));
        found.ok().and_then(|at| TABLE.get(at)).map(Self).ok_or(MoneyError::UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Codes and their minor digits, sorted: list one of ISO 4217 as of February 2026.
///
/// Journals name currencies, so a code that ISO withdraws later must stay.
static TABLE: [[u8; 4]; 165] = [
    *b"AED2", *b"AFN2", *b"ALL2", *b"AMD2", *b"AOA2", *b"ARS2", *b"AUD2", *b"AWG2", *b"AZN2", *b"BAM2",
    *b"BBD2", *b"BDT2", *b"BHD3", *b"BIF0", *b"BMD2", *b"BND2", *b"BOB2", *b"BOV2", *b"BRL2", *b"BSD2",
    *b"BTN2", *b"BWP2", *b"BYN2", *b"BZD2", *b"CAD2", *b"CDF2", *b"CHE2", *b"CHF2", *b"CHW2", *b"CLF4",
    *b"CLP0", *b"CNY2", *b"COP2", *b"COU2", *b"CRC2", *b"CUP2", *b"CVE2", *b"CZK2", *b"DJF0", *b"DKK2",
    *b"DOP2", *b"DZD2", *b"EGP2", *b"ERN2", *b"ETB2", *b"EUR2", *b"FJD2", *b"FKP2", *b"GBP2", *b"GEL2",
    *b"GHS2", *b"GIP2", *b"GMD2", *b"GNF0", *b"GTQ2", *b"GYD2", *b"HKD2", *b"HNL2", *b"HTG2", *b"HUF2",
    *b"IDR2", *b"ILS2", *b"INR2", *b"IQD3", *b"IRR2", *b"ISK0", *b"JMD2", *b"JOD3", *b"JPY0", *b"KES2",
    *b"KGS2", *b"KHR2", *b"KMF0", *b"KPW2", *b"KRW0", *b"KWD3", *b"KYD2", *b"KZT2", *b"LAK2", *b"LBP2",
    *b"LKR2", *b"LRD2", *b"LSL2", *b"LYD3", *b"MAD2", *b"MDL2", *b"MGA2", *b"MKD2", *b"MMK2", *b"MNT2",
    *b"MOP2", *b"MRU2", *b"MUR2", *b"MVR2", *b"MWK2", *b"MXN2", *b"MXV2", *b"MYR2", *b"MZN2", *b"NAD2",
    *b"NGN2", *b"NIO2", *b"NOK2", *b"NPR2", *b"NZD2", *b"OMR3", *b"PAB2", *b"PEN2", *b"PGK2", *b"PHP2",
    *b"PKR2", *b"PLN2", *b"PYG0", *b"QAR2", *b"RON2", *b"RSD2", *b"RUB2", *b"RWF0", *b"SAR2", *b"SBD2",
    *b"SCR2", *b"SDG2", *b"SEK2", *b"SGD2", *b"SHP2", *b"SLE2", *b"SOS2", *b"SRD2", *b"SSP2", *b"STN2",
    *b"SVC2", *b"SYP2", *b"SZL2", *b"THB2", *b"TJS2", *b"TMT2", *b"TND3", *b"TOP2", *b"TRY2", *b"TTD2",
    *b"TWD2", *b"TZS2", *b"UAH2", *b"UGX0", *b"USD2", *b"USN2", *b"UYI0", *b"UYU2", *b"UYW4", *b"UZS2",
    *b"VED2", *b"VES2", *b"VND0", *b"VUV0", *b"WST2", *b"XAD2", *b"XAF0", *b"XCD2", *b"XCG2", *b"XOF0",
    *b"XPF0", *b"YER2", *b"ZAR2", *b"ZMW2", *b"ZWG2",
];
