//! What decimal text is read, what is refused and why, and how values are printed.

use proviso_amounts::{Buffer, Credits, Decimal, DecimalError, OutOfRange, Price};

const MAX: &str = "170141183460469231731687303.715884105727";
const MIN: &str = "-170141183460469231731687303.715884105728";

#[test]
fn decimals_read_and_print_exactly() {
    for (text, units, printed) in [
        ("0", 0, "0"),
        ("-0", 0, "0"),
        ("0.000", 0, "0"),
        ("12.5", 12_500_000_000_000, "12.5"),
        ("-12.5", -12_500_000_000_000, "-12.5"),
        ("0.000000000001", 1, "0.000000000001"),
        ("-0.000000000001", -1, "-0.000000000001"),
        ("0.000001", 1_000_000, "0.000001"),
        ("0.0000001", 100_000, "0.0000001"),
        ("1.10000000000000000000", 1_100_000_000_000, "1.1"),
        ("007", 7_000_000_000_000, "7"),
        ("0000000000000000000000000000000000000000000000007", 7_000_000_000_000, "7"),
        ("18446744.073709551615", i128::from(u64::MAX), "18446744.073709551615"),
        ("18446744.073709551616", i128::from(u64::MAX) + 1, "18446744.073709551616"),
        ("999999999999999.999999999999", Decimal::LARGEST.units(), "999999999999999.999999999999"),
        ("9999999999999999999", 9_999_999_999_999_999_999 * Decimal::SCALE, "9999999999999999999"),
        ("10000000000000000000", 10_i128.pow(31), "10000000000000000000"),
        ("18446744073709551616", (1 << 64) * Decimal::SCALE, "18446744073709551616"),
        ("100000000000000000000.5", 10_i128.pow(32) + Decimal::SCALE / 2, "100000000000000000000.5"),
        (MAX, i128::MAX, MAX),
        (MIN, i128::MIN, MIN),
    ] {
        let decimal: Decimal = text.parse().unwrap();
        assert_eq!((decimal.units(), decimal.to_string().as_str()), (units, printed), "{text}");
        assert_eq!(decimal.format(&mut Buffer::new()), printed);
        assert_eq!(format!("{decimal:?}"), printed);
    }
}

#[test]
fn other_text_is_refused_with_the_reason() {
    use DecimalError::{Malformed, OutOfRange, TooPrecise};
    for (text, error) in [
        ("", Malformed),
        ("-", Malformed),
        (".", Malformed),
        (".5", Malformed),
        ("5.", Malformed),
        ("-.5", Malformed),
        ("1e3", Malformed),
        ("+1", Malformed),
        ("1,5", Malformed),
        ("1.2.3", Malformed),
        ("--1", Malformed),
        ("1-", Malformed),
        (" 1", Malformed),
        ("1_000", Malformed),
        ("NaN", Malformed),
        ("٣", Malformed),
        ("0.00000000000001x", Malformed),
        ("99999999999999999999999999999999999999999999x", Malformed),
        ("0.0000000000001", TooPrecise),
        ("1.00000000000010", TooPrecise),
        ("170141183460469231731687303.715884105728", OutOfRange),
        ("-170141183460469231731687303.715884105729", OutOfRange),
        ("340282366920938463463374608", OutOfRange),
        ("99999999999999999999999999999999999999999999", OutOfRange),
    ] {
        assert_eq!(text.parse::<Decimal>(), Err(error), "{text}");
        assert_eq!(text.parse::<Credits>(), Err(error), "{text}");
    }
    assert_eq!(TooPrecise.to_string(), "more than 12 decimal places");
}

#[test]
fn printing_honours_a_width_and_cuts_nothing_off() {
    let credits: Credits = "-12.345".parse().unwrap();
    for (printed, expected) in [
        (format!("{credits:10}|"), "   -12.345|"),
        (format!("{credits:<10}|"), "-12.345   |"),
        (format!("{credits:^9}|"), " -12.345 |"),
        (format!("{credits:.1}|"), "-12.345|"),
        (format!("{credits:?}"), "Credits(-12.345)"),
    ] {
        assert_eq!(printed, expected);
    }
}

#[test]
fn parts_are_the_whole_number_and_the_rest() {
    for (text, whole, part) in [
        ("0", 0, 0),
        ("12.5", 12, 500_000_000_000),
        ("-12.5", -12, -500_000_000_000),
        ("-0.000000000001", 0, -1),
        ("9223372036854775807.999999999999", i64::MAX, 999_999_999_999),
        ("-9223372036854775808.999999999999", i64::MIN, -999_999_999_999),
    ] {
        let decimal: Decimal = text.parse().unwrap();
        assert_eq!(decimal.to_parts(), (whole, part), "{text}");
        assert_eq!(Decimal::from_parts(whole, part), Ok(decimal), "{text}");
    }
    for (whole, part) in [
        (1, -1),
        (-1, 1),
        (0, 1_000_000_000_000),
        (0, -1_000_000_000_000),
        (1, i64::MAX),
        (-1, i64::MIN),
        (0, i64::MIN),
    ] {
        assert_eq!(Decimal::from_parts(whole, part), Err(OutOfRange), "{whole} {part}");
        assert_eq!(Price::from_parts(whole, part), Err(OutOfRange), "{whole} {part}");
    }
    // Totals beyond the whole number's 64 bits.
    assert_eq!(Decimal::MAX.to_parts(), (i64::MAX, 999_999_999_999));
    assert_eq!(Decimal::MIN.to_parts(), (i64::MIN, -999_999_999_999));
    let above: Decimal = "9223372036854775808".parse().unwrap();
    assert_eq!(above.to_parts(), (i64::MAX, 999_999_999_999));
}

#[cfg(feature = "serde")]
mod json {
    use super::*;
    use proviso_amounts::{Money, Percent, Quantity, Rounding};
    use serde_json::{from_str, to_string};

    #[test]
    fn credits_and_prices_are_strings_only() {
        assert_eq!(to_string(&Credits::from_units(-12_500_000_000_000)).unwrap(), "\"-12.5\"");
        assert_eq!(from_str::<Credits>("\"12.5\"").unwrap(), Credits::from_units(12_500_000_000_000));
        assert_eq!(from_str::<Price>("\"0.0000003\"").unwrap(), Price::from_units(300_000));
        assert_eq!(from_str::<Decimal>("\"12\"").unwrap(), Decimal::from_whole(12));
        for number in ["1", "-1", "1.5", "1e3", "18446744073709551615", "1e99"] {
            for error in [
                from_str::<Credits>(number).unwrap_err().to_string(),
                from_str::<Price>(number).unwrap_err().to_string(),
                from_str::<Decimal>(number).unwrap_err().to_string(),
            ] {
                let reason =
                    "expected a decimal string such as \"12.5\" (numbers are refused: they lose exactness)";
                assert!(error.contains(reason), "{number}: {error}");
            }
        }
        for other in ["null", "true", "[]", "{}"] {
            let error = from_str::<Credits>(other).unwrap_err().to_string();
            assert!(error.contains("expected a decimal string such as \"12.5\""), "{error}");
        }
    }

    #[test]
    fn quantities_and_percentages_are_whole_numbers_too() {
        for (json, expected) in [
            ("1200", "1200"),
            ("-3", "-3"),
            ("\"0.5\"", "0.5"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(from_str::<Quantity>(json).unwrap().to_string(), expected);
            assert_eq!(from_str::<Percent>(json).unwrap().to_string(), expected);
        }
        assert_eq!(to_string(&Quantity::from_whole(1200)).unwrap(), "\"1200\"");
        for number in ["1.5", "1e3", "1.0"] {
            let error = from_str::<Quantity>(number).unwrap_err().to_string();
            assert!(error.contains("numbers with a fraction are refused"), "{error}");
        }
    }

    #[test]
    fn a_refused_text_is_repeated_in_part() {
        let error = from_str::<Credits>("\"12,5\"").unwrap_err().to_string();
        assert!(error.starts_with("not a decimal number such as \"12.5\": \"12,5\""), "{error}");
        let long = format!("\"{}\"", "é".repeat(10_000));
        let error = from_str::<Credits>(&long).unwrap_err().to_string();
        assert!(error.contains(&"é".repeat(40)) && error.len() < 200, "{error}");
    }

    #[test]
    fn roundings_have_names() {
        for (rounding, json) in [
            (Rounding::Up, "\"up\""),
            (Rounding::Down, "\"down\""),
            (Rounding::HalfUp, "\"half_up\""),
            (Rounding::HalfEven, "\"half_even\""),
        ] {
            assert_eq!(to_string(&rounding).unwrap(), json);
            assert_eq!(from_str::<Rounding>(json).unwrap(), rounding);
        }
        assert!(from_str::<Rounding>("\"nearest\"").is_err());
    }

    #[test]
    fn money_is_an_amount_and_a_currency() {
        let json = r#"{"amount":"99.9","currency":"EUR"}"#;
        let money: Money = from_str(json).unwrap();
        assert_eq!(money.to_string(), "99.9 EUR");
        assert_eq!(to_string(&money).unwrap(), json);
        for (json, reason) in [
            (r#"{"amount":"-1","currency":"EUR"}"#, "must not be negative"),
            (r#"{"amount":"1000000000000000","currency":"EUR"}"#, "must be below 1000000000000000"),
            (r#"{"amount":99.9,"currency":"EUR"}"#, "numbers are refused"),
            (r#"{"amount":"1","currency":"euro"}"#, "not an active ISO 4217 currency code"),
            (r#"{"amount":"1","currency":"XXX"}"#, "not an active ISO 4217 currency code"),
            (r#"{"amount":"1"}"#, "missing field `currency`"),
            (r#"{"amount":"1","currency":"EUR","tax":"1"}"#, "unknown field `tax`"),
        ] {
            let error = from_str::<Money>(json).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }

    #[test]
    fn binary_formats_hold_units() {
        let values = (Credits::from_units(-1), Quantity::from_whole(3), "9.99".parse::<Price>().unwrap());
        let bytes = postcard::to_allocvec(&values).unwrap();
        assert!(bytes.len() < 16, "{bytes:?}");
        assert_eq!(postcard::from_bytes::<(Credits, Quantity, Price)>(&bytes).unwrap(), values);
        let money = Money::new("1.5".parse().unwrap(), "JPY".parse().unwrap()).unwrap();
        let bytes = postcard::to_allocvec(&money).unwrap();
        assert_eq!(postcard::from_bytes::<Money>(&bytes).unwrap(), money);
    }
}
