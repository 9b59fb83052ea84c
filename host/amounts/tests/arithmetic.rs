//! Costs, percentages, blocks and rounding, with the cases that smaller numbers got wrong.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use proviso_amounts::{
    Credits, Decimal, OutOfRange, Percent, Price, Quantity,
    Rounding::{self, Down, HalfEven, HalfUp, Up},
};

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn price(text: &str) -> Price {
    Price::new(decimal(text))
}

fn quantity(text: &str) -> Quantity {
    Quantity::new(decimal(text))
}

fn credits(text: &str) -> Credits {
    Credits::new(decimal(text))
}

const ALL: [Rounding; 4] = [Up, Down, HalfUp, HalfEven];

#[test]
fn small_prices_are_not_rounded_up() {
    for (one, tokens, requests, total) in
        [("0.0000003", "25", 1_000, "0.0075"), ("0.00000003", "1", 1_000, "0.00003")]
    {
        for rounding in ALL {
            let cost = price(one).times(quantity(tokens), rounding).unwrap();
            assert_eq!(Credits::checked_sum((0..requests).map(|_| cost)), Some(credits(total)));
            assert_eq!(cost.repeated(requests), Ok(credits(total)));
        }
    }
}

#[test]
fn a_petabyte_is_a_quantity_of_bytes() {
    let petabyte = quantity("1000000000000000");
    // The period's total may be any number of them; one usage stays below.
    assert!(!petabyte.is_acceptable());
    let usage = quantity("999999999999999").accepted().unwrap();
    assert_eq!(usage.repeated(1_000_000).unwrap().to_string(), "999999999999999000000");
    for rounding in ALL {
        // 0.02 credits a gigabyte.
        let cost = price("0.00000000002").times(petabyte, rounding);
        assert_eq!(cost, Ok(credits("20000")));
        let odd = price("0.000000000021").times(quantity("1125899906842624"), rounding);
        assert_eq!(odd, Ok(credits("23643.898043695104")));
    }
}

#[test]
fn totals_of_accepted_amounts_do_not_overflow() {
    let billion = Credits::from_whole(1_000_000_000);
    assert_eq!(Credits::checked_sum((0..10_000).map(|_| billion)), Some(credits("10000000000000")));
    let most = Credits::LARGEST.repeated(170_000_000_000).unwrap();
    assert!(most.checked_add(Credits::LARGEST).is_some());
    assert!(Credits::from_units(-most.units()).checked_sub(Credits::LARGEST).is_some());
    assert_eq!(Credits::LARGEST.repeated(180_000_000_000), Err(OutOfRange));
}

#[test]
fn single_amounts_are_below_10_to_the_15th() {
    for (text, fits) in [
        ("0", true),
        ("999999999999999.999999999999", true),
        ("-999999999999999.999999999999", true),
        ("1000000000000000", false),
        ("-1000000000000000", false),
        ("170141183460469231731687303", false),
    ] {
        assert_eq!(credits(text).is_acceptable(), fits, "{text}");
        assert_eq!(credits(text).accepted().is_ok(), fits, "{text}");
    }
    assert!(!Decimal::MIN.is_acceptable());
}

#[test]
fn every_rounding_goes_where_its_name_says() {
    // In units of 10^-12: half a unit, one and a half, two and a half, and what lies beside.
    for (one, amount, up, down, half_up, half_even) in [
        ("0.001", "1200", 1_200_000_000_000, 1_200_000_000_000, 1_200_000_000_000, 1_200_000_000_000),
        ("0.000000000001", "0.5", 1, 0, 1, 0),
        ("0.000000000001", "0.499999999999", 1, 0, 0, 0),
        ("0.000000000001", "0.500000000001", 1, 0, 1, 1),
        ("0.000000000001", "1.5", 2, 1, 2, 2),
        ("0.000000000001", "2.5", 3, 2, 3, 2),
        ("0.000000000001", "-2.5", -3, -2, -3, -2),
        ("0.000000000001", "-1.5", -2, -1, -2, -2),
        ("-0.000000000001", "0.000000000001", -1, 0, 0, 0),
        ("-0.000000000001", "-2.5", 3, 2, 3, 2),
    ] {
        for (rounding, expected) in [(Up, up), (Down, down), (HalfUp, half_up), (HalfEven, half_even)] {
            let cost = price(one).times(quantity(amount), rounding).unwrap();
            assert_eq!(cost.units(), expected, "{one} x {amount} {rounding:?}");
        }
    }
}

#[test]
fn results_that_do_not_fit_are_refused() {
    assert_eq!(Price::LARGEST.times(Quantity::LARGEST, Up), Err(OutOfRange));
    assert_eq!(Decimal::MAX.mul(Decimal::ONE, Up), Ok(Decimal::MAX));
    assert_eq!(Decimal::MIN.mul(Decimal::ONE, Up), Ok(Decimal::MIN));
    assert_eq!(Decimal::MIN.mul(decimal("-1"), Up), Err(OutOfRange));
    assert_eq!(Decimal::MAX.mul(decimal("1.000000000001"), Down), Err(OutOfRange));
    assert_eq!(Decimal::MAX.mul_div(Decimal::MAX, Decimal::MAX, HalfEven), Ok(Decimal::MAX));
    assert_eq!(Decimal::MAX.mul_div(Decimal::MIN, Decimal::MIN, HalfEven), Ok(Decimal::MAX));
    assert_eq!(Decimal::ONE.div(Decimal::ZERO, Up), Err(OutOfRange));
    assert_eq!(Decimal::LARGEST.div(decimal("0.000000000001"), Up), Err(OutOfRange));
    assert_eq!(Decimal::ZERO.mul_div(Decimal::ONE, Decimal::ZERO, Up), Err(OutOfRange));
    assert_eq!(Decimal::MAX.percent(Percent::from_whole(101), Down), Err(OutOfRange));
    assert_eq!(Decimal::MAX.round_to(Decimal::ONE, Up), Err(OutOfRange));
    assert_eq!(Decimal::MIN.checked_neg(), None);
    assert_eq!(Decimal::MIN.checked_abs(), None);
    assert_eq!(Decimal::MAX.checked_add(Decimal::from_units(1)), None);
    assert_eq!(Decimal::MIN.checked_sub(Decimal::from_units(1)), None);
    assert_eq!(Decimal::MAX.saturating_add(Decimal::ONE), Decimal::MAX);
    assert_eq!(Decimal::MIN.saturating_sub(Decimal::ONE), Decimal::MIN);
    assert_eq!(Credits::checked_sum([Credits::new(Decimal::MAX), Credits::ONE]), None);
    assert_eq!(Credits::new(Decimal::MAX).plus(Credits::ONE), Err(OutOfRange));
    assert_eq!(Credits::new(Decimal::MIN).minus(Credits::ONE), Err(OutOfRange));
}

#[test]
fn division_is_checked_and_rounded() {
    for (a, b, up, down) in [
        ("1", "4", "0.25", "0.25"),
        ("1", "3", "0.333333333334", "0.333333333333"),
        ("-1", "3", "-0.333333333334", "-0.333333333333"),
        ("2", "-0.000000000003", "-666666666666.666666666667", "-666666666666.666666666666"),
    ] {
        for (rounding, expected) in [(Up, up), (Down, down)] {
            assert_eq!(decimal(a).div(decimal(b), rounding), Ok(decimal(expected)), "{a} / {b} {rounding:?}");
        }
    }
}

#[test]
fn percentages() {
    for (value, percent, up, down) in [
        ("0.003", "33.333333", "0.00099999999", "0.00099999999"),
        ("1", "33.333333", "0.33333333", "0.33333333"),
        ("0.000000000001", "50", "0.000000000001", "0"),
        ("0.000000000003", "70", "0.000000000003", "0.000000000002"),
        ("-0.000000000003", "70", "-0.000000000003", "-0.000000000002"),
        ("200", "12.5", "25", "25"),
        (
            "999999999999999.999999999999",
            "100",
            "999999999999999.999999999999",
            "999999999999999.999999999999",
        ),
        ("999999999999999", "0.000000000001", "10", "9.999999999999"),
        ("8", "0", "0", "0"),
        ("8", "-25", "-2", "-2"),
    ] {
        let percent = Percent::new(decimal(percent));
        for (rounding, expected) in [(Up, up), (Down, down)] {
            assert_eq!(price(value).percent(percent, rounding), Ok(price(expected)), "{value} {percent}");
            assert_eq!(credits(value).percent(percent, rounding), Ok(credits(expected)), "{value} {percent}");
        }
    }
    assert_eq!(credits("7.5").percent(Percent::ALL, Down), Ok(credits("7.5")));
}

#[test]
fn blocks_steps_and_places() {
    let blocks = |amount, size, rounding| quantity(amount).blocks(quantity(size), rounding);
    for (amount, size, up, down) in [
        ("0", "1000", 0, 0),
        ("1", "1000", 1, 0),
        ("1000", "1000", 1, 1),
        ("1000.000000000001", "1000", 2, 1),
        ("-1", "1000", -1, 0),
        ("999999999999999", "0.5", 1_999_999_999_999_998, 1_999_999_999_999_998),
    ] {
        assert_eq!(blocks(amount, size, Up), Ok(Quantity::from_whole(up)), "{amount} {size}");
        assert_eq!(blocks(amount, size, Down), Ok(Quantity::from_whole(down)), "{amount} {size}");
    }
    assert_eq!(blocks("1", "0", Up), Err(OutOfRange));
    assert_eq!(blocks("1", "-1", Up), Err(OutOfRange));
    // 10^39 units, which is more than 128 bits hold.
    assert_eq!(blocks("999999999999999", "0.000000000001", Up), Err(OutOfRange));

    for (value, step, up, half_even) in [
        ("7", "5", "10", "5"),
        ("7.5", "5", "10", "10"),
        ("12.5", "5", "15", "10"),
        ("-12.5", "5", "-15", "-10"),
        ("0.004", "0.01", "0.01", "0"),
        ("10", "5", "10", "10"),
    ] {
        assert_eq!(credits(value).round_to(credits(step), Up), Ok(credits(up)), "{value} {step}");
        assert_eq!(
            credits(value).round_to(credits(step), HalfEven),
            Ok(credits(half_even)),
            "{value} {step}"
        );
    }
    assert_eq!(credits("1").round_to(Credits::ZERO, Up), Err(OutOfRange));
    for (value, places, rounded) in [
        ("1.005", 2, "1.01"),
        ("1.004999999999", 2, "1"),
        ("1.5", 0, "2"),
        ("-1.5", 0, "-2"),
        ("1.000000000001", 12, "1.000000000001"),
        ("1.000000000001", 40, "1.000000000001"),
    ] {
        assert_eq!(credits(value).round_to_places(places, HalfUp), Ok(credits(rounded)), "{value} {places}");
    }
}

#[test]
fn what_credits_pay_for() {
    for (one, paid, affords) in [
        ("0.003", "0.01", "3.333333333333"),
        ("2", "7", "3.5"),
        ("2", "-7", "0"),
        ("0.000000000001", "999999999999999", "999999999999999.999999999999"),
        ("0", "1", "999999999999999.999999999999"),
        ("-1", "1", "999999999999999.999999999999"),
    ] {
        assert_eq!(price(one).affords(credits(paid)), quantity(affords), "{paid} at {one}");
    }
    assert_eq!(Price::of_one(credits("9.99")).times(Quantity::ONE, Down), Ok(credits("9.99")));
}

#[test]
fn what_lies_above() {
    for (value, floor, above) in [("5", "3", "2"), ("3", "5", "0"), ("3", "3", "0"), ("1", "-2", "3")] {
        assert_eq!(credits(value).above(credits(floor)), credits(above), "{value} above {floor}");
    }
}
