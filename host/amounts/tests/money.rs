//! Currencies, bounds of money, and shares that add up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proviso_amounts::{
    Credits, Currency, Decimal, Money, MoneyError, OutOfRange,
    Rounding::{self, Down, HalfEven, HalfUp, Up},
};

fn money(text: &str) -> Money {
    let (amount, currency) = text.split_once(' ').unwrap();
    Money::new(amount.parse().unwrap(), currency.parse().unwrap()).unwrap()
}

#[test]
fn currencies_have_minor_units() {
    for (code, digits, unit) in [
        ("EUR", 2, "0.01"),
        ("USD", 2, "0.01"),
        ("AED", 2, "0.01"),
        ("JPY", 0, "1"),
        ("ISK", 0, "1"),
        ("KWD", 3, "0.001"),
        ("CLF", 4, "0.0001"),
        ("XCG", 2, "0.01"),
        ("ZWG", 2, "0.01"),
    ] {
        let currency: Currency = code.parse().unwrap();
        assert_eq!((currency.code(), currency.minor_digits()), (code, digits));
        assert_eq!(currency.minor_unit(), unit.parse().unwrap(), "{code}");
    }
    for code in ["", "EU", "EURO", "eur", "EUR ", "EUR2", "XAU", "XXX", "XTS", "DEM", "HRK", "ÄÖ"] {
        assert_eq!(code.parse::<Currency>(), Err(MoneyError::UnknownCurrency), "{code}");
    }
}

#[test]
fn every_currency_is_found_by_its_code() {
    let all: Vec<_> = Currency::all().collect();
    assert!(all.is_sorted_by(|a, b| a.code() < b.code()));
    for currency in all {
        assert_eq!(currency.code().parse(), Ok(currency));
        assert!(currency.code().len() == 3 && currency.minor_digits() <= 4, "{currency}");
    }
}

#[test]
fn money_is_not_negative_and_bounded() {
    let eur: Currency = "EUR".parse().unwrap();
    assert_eq!(Money::new("-0.01".parse().unwrap(), eur), Err(MoneyError::Negative));
    assert_eq!(Money::new(Decimal::from_whole(1_000_000_000_000_000), eur), Err(MoneyError::OutOfRange));
    assert!(Money::new(Decimal::LARGEST, eur).is_ok());
    assert_eq!(money("9.99 EUR").repeated(3), Ok(money("29.97 EUR")));
    assert_eq!(money("9.99 EUR").repeated(-1), Err(OutOfRange));
    assert_eq!(money("999999999999999 EUR").repeated(2), Err(OutOfRange));
    // A price keeps its places until it has to be paid.
    assert_eq!(money("0.0035 USD").to_string(), "0.0035 USD");
    assert_eq!(money("0.0035 USD").rounded(HalfUp), Ok(money("0 USD")));
    assert_eq!(money("1234.5 JPY").rounded(Up), Ok(money("1235 JPY")));
}

const LARGEST: &str = "999999999999999.999999999999";

#[test]
fn a_share_is_rounded_to_the_minor_unit() {
    for (amount, part, whole, rounding, share) in [
        ("99.99 EUR", "30", "100", HalfEven, "30 EUR"),
        ("99.99 EUR", "1", "3", HalfEven, "33.33 EUR"),
        ("100 EUR", "1", "3", Up, "33.34 EUR"),
        ("100 EUR", "1", "3", Down, "33.33 EUR"),
        ("0.05 EUR", "1", "2", HalfUp, "0.03 EUR"),
        ("0.05 EUR", "1", "2", HalfEven, "0.02 EUR"),
        ("0.07 EUR", "1", "2", HalfEven, "0.04 EUR"),
        // Just above and just below the middle, by less than 12 places can say.
        ("0.05 EUR", "500000000.000000000001", "1000000000", HalfEven, "0.03 EUR"),
        ("0.05 EUR", "499999999.999999999999", "1000000000", HalfUp, "0.02 EUR"),
        ("999 JPY", "1", "2", HalfEven, "500 JPY"),
        ("1 KWD", "1", "3", Down, "0.333 KWD"),
        ("49.9 EUR", "0", "10", Up, "0 EUR"),
        // All of it is the amount, and a share is never more.
        ("0.0035 USD", "10", "10", Down, "0.0035 USD"),
        ("0.0035 USD", "9", "10", Up, "0.0035 USD"),
        // The exact share is 999999999999998.99 and 10^-14.
        ("999999999999999.99 EUR", "999999999999999", LARGEST, Up, "999999999999999 EUR"),
        ("999999999999999.99 EUR", "999999999999999", LARGEST, HalfUp, "999999999999998.99 EUR"),
    ] {
        let (part, whole): (Credits, Credits) = (part.parse().unwrap(), whole.parse().unwrap());
        let found = money(amount).share(part, whole, rounding).unwrap();
        assert_eq!(found, money(share), "{part} of {whole} at {amount} {rounding:?}");
    }
    for (part, whole) in [("1", "0"), ("0", "0"), ("-1", "10"), ("11", "10"), ("1", "-10")] {
        let (part, whole): (Credits, Credits) = (part.parse().unwrap(), whole.parse().unwrap());
        assert_eq!(money("1 EUR").share(part, whole, Up), Err(OutOfRange), "{part} of {whole}");
    }
}

#[test]
fn shares_of_thirds_add_up() {
    let mut shares = money("100 EUR").shares(Credits::from_whole(3), HalfEven).unwrap();
    let each = [(); 3].map(|()| shares.take(Credits::ONE).unwrap().to_string());
    assert_eq!(each, ["33.33 EUR", "33.34 EUR", "33.33 EUR"]);
    assert_eq!(shares.rest(), money("0 EUR"));
    assert_eq!(shares.take(Credits::from_units(1)), Err(OutOfRange));
    assert_eq!(shares.take(Credits::ZERO), Ok(money("0 EUR")));
    assert!(money("1 EUR").shares(Credits::ZERO, Up).is_err());

    let mut shares = money("0.0035 USD").shares(Credits::from_whole(10), Up).unwrap();
    assert_eq!(shares.take(Credits::from_whole(-1)), Err(OutOfRange));
    let first = shares.take(Credits::from_whole(4)).unwrap();
    assert_eq!((first, shares.rest()), (money("0.0035 USD"), money("0 USD")));
}

fn rounding() -> impl Strategy<Value = Rounding> {
    prop_oneof![Just(Up), Just(Down), Just(HalfUp), Just(HalfEven)]
}

fn currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(Currency::all().collect::<Vec<_>>())
}

/// Up to 10^15, as often with few places as with all.
fn amount() -> impl Strategy<Value = i128> {
    (0..=Decimal::LARGEST.units(), 0..24_u32).prop_map(|(units, shift)| units / 10_i128.pow(shift))
}

proptest! {
    #[test]
    fn shares_add_up(
        amount in amount(),
        currency in currency(),
        parts in prop::collection::vec(amount(), 1..8),
        rounding in rounding(),
    ) {
        let money = Money::new(Decimal::from_units(amount), currency).unwrap();
        let parts = parts.into_iter().map(Credits::from_units);
        let whole = Credits::checked_sum(parts.clone()).unwrap();
        prop_assume!(whole.is_positive());
        let mut shares = money.shares(whole, rounding).unwrap();
        let unit = currency.minor_unit();
        let mut total = Decimal::ZERO;
        for part in parts {
            let share = shares.take(part).unwrap().amount();
            total = total.checked_add(share).unwrap();
            prop_assert!(!share.is_negative());
            // Within one minor unit of the exact share.
            let exact = money.amount().mul_div(part.decimal(), whole.decimal(), Down).unwrap();
            let off = share.checked_sub(exact).unwrap().checked_abs().unwrap();
            prop_assert!(off <= unit, "{} of {} at {} is {}, exactly {}", part, whole, money, share, exact);
        }
        prop_assert_eq!(total, money.amount());
        prop_assert!(shares.rest().is_zero());
    }

    /// Rounding twice, to 12 places and then to the minor unit, would differ; dividing big integers once does not.
    #[test]
    fn a_share_is_the_nearest_minor_unit(
        amount in 0..1_000_000_000_000_000_i128,
        part in 0..1_000_000_000_i128,
        whole in 1_000_000_000..2_000_000_000_i128,
        currency in currency(),
    ) {
        let money = Money::new(Decimal::from_units(amount), currency).unwrap();
        let share = |rounding| {
            let share = money.share(Credits::from_units(part), Credits::from_units(whole), rounding);
            share.unwrap().amount().units()
        };
        let step = currency.minor_unit().units();
        // Everything fits into 128 bits here.
        let (exact, divisor) = (amount * part, whole * step);
        let down = exact / divisor * step;
        let up = (exact + divisor - 1) / divisor * step;
        let nearest = (2 * exact + divisor) / (2 * divisor) * step;
        prop_assert_eq!(share(Down), down);
        prop_assert_eq!(share(Up), up.min(amount));
        prop_assert_eq!(share(HalfUp), nearest.min(amount));
        let even = if 2 * exact % divisor == 0 && (nearest / step) % 2 == 1 && exact % divisor != 0 {
            down
        } else {
            nearest
        };
        prop_assert_eq!(share(HalfEven), even.min(amount));
    }
}
