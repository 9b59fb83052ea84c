//! Properties of any decimals: text and parts come back, and every product and quotient is the exact one, rounded.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proviso_amounts::{
    Credits, Decimal, Money, OutOfRange, Percent, Price, Quantity,
    Rounding::{self, Down, HalfEven, HalfUp, Up},
};
use std::cmp::Ordering;

const ALL: [Rounding; 4] = [Up, Down, HalfUp, HalfEven];

/// Values of every length, and as often with few places as with all, so that each of the short ways is taken.
fn units() -> impl Strategy<Value = i128> {
    let any_length = (any::<i128>(), 0..127_u32).prop_map(|(units, shift)| units >> shift);
    let whole = any::<i64>().prop_map(|whole| i128::from(whole) * Decimal::SCALE);
    let few_places =
        (any::<i32>(), 0..16_u32).prop_map(|(value, power)| i128::from(value) * 10_i128.pow(power));
    let edge = proptest::sample::select(vec![
        0,
        1,
        -1,
        i128::MIN,
        i128::MAX,
        Decimal::SCALE,
        i128::from(u64::MAX),
        i128::from(u64::MAX) + 1,
        i128::from(i64::MIN),
        Decimal::LARGEST.units(),
    ]);
    prop_oneof![4 => any_length, 4 => whole, 4 => few_places, 1 => edge]
}

fn decimal() -> impl Strategy<Value = Decimal> {
    units().prop_map(Decimal::from_units)
}

/// A product of factors as 32-bit digits, the lowest first, by schoolbook multiplication.
fn product(factors: &[u128]) -> Vec<u32> {
    factors.iter().fold(vec![1], |product, factor| {
        let digits = [0, 32, 64, 96].map(|shift| (factor >> shift) as u32);
        let mut result = vec![0_u32; product.len() + digits.len()];
        for (i, a) in product.iter().enumerate() {
            let mut carry = 0;
            for (j, b) in digits.iter().enumerate() {
                let sum = u64::from(result[i + j]) + u64::from(*a) * u64::from(*b) + carry;
                (result[i + j], carry) = (sum as u32, sum >> 32);
            }
            result[i + digits.len()] = carry as u32;
        }
        result
    })
}

fn compare(a: &[u128], b: &[u128]) -> Ordering {
    let (a, b) = (product(a), product(b));
    let digit = |digits: &[u32], at: usize| digits.get(at).copied().unwrap_or(0);
    (0..a.len().max(b.len()))
        .rev()
        .map(|at| digit(&a, at).cmp(&digit(&b, at)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Whether `result` is `a * b / c` rounded, by multiplying back: no division takes part.
fn check(
    a: i128,
    b: i128,
    c: i128,
    rounding: Rounding,
    result: Result<i128, OutOfRange>,
) -> Result<(), TestCaseError> {
    let negative = (a < 0) ^ (b < 0) ^ (c < 0);
    let (x, y, z) = (a.unsigned_abs(), b.unsigned_abs(), c.unsigned_abs());
    let context = format!("{a} * {b} / {c} {rounding:?} = {result:?}");
    let Ok(result) = result else {
        // Down must fail only beyond the bound, the others also on the last step before it.
        let bound = if negative { 1_u128 << 127 } else { (1 << 127) - 1 };
        let excess = compare(&[x, y], &[bound, z]);
        prop_assert!(z == 0 || excess.is_gt(), "{}", context);
        if rounding == Down && z != 0 {
            prop_assert!(compare(&[x, y], &[bound + 1, z]).is_ge(), "{}", context);
        }
        return Ok(());
    };
    prop_assert!(z != 0, "{}", context);
    prop_assert!(result == 0 || (result < 0) == negative, "{}", context);
    let r = result.unsigned_abs();
    let holds = match rounding {
        Down => compare(&[x, y], &[r, z]).is_ge() && compare(&[x, y], &[r + 1, z]).is_lt(),
        Up => compare(&[x, y], &[r, z]).is_le() && (r == 0 || compare(&[x, y], &[r - 1, z]).is_gt()),
        HalfUp | HalfEven => {
            // `2xy` against `(2r - 1) z` and `(2r + 1) z`; 2r + 1 fits unless r is 2^127.
            let below = r == 0 || {
                let order = compare(&[2, x, y], &[2 * (r - 1) + 1, z]);
                order.is_gt() || (order.is_eq() && (rounding == HalfUp || r % 2 == 0))
            };
            let above = r == 1 << 127 || {
                let order = compare(&[2, x, y], &[2 * r + 1, z]);
                order.is_lt() || (order.is_eq() && rounding == HalfEven && r % 2 == 0)
            };
            below && above
        }
    };
    prop_assert!(holds, "{}", context);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn text_comes_back(value in decimal()) {
        let text = value.to_string();
        prop_assert_eq!(text.parse(), Ok(value));
        prop_assert!(!text.contains('.') || !text.ends_with(['0', '.']), "{} is not the shortest", text);
        prop_assert!(!text.starts_with("00") && !text.starts_with("-0") || text.starts_with("-0."), "{}", text);
        // More zeros change nothing.
        let zeros = if text.contains('.') { "000" } else { ".000" };
        prop_assert_eq!(format!("{text}{zeros}").parse(), Ok(value));
        // The printed digits are the units: this does not go through the parser.
        let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
        prop_assert_eq!(format!("{whole}{places:0<12}").parse::<i128>().unwrap(), value.units());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "-?[0-9]{0,30}\\.?[0-9]{0,14}") {
        if let Ok(value) = text.parse::<Decimal>() {
            let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
            let places: String = places.chars().chain("0".repeat(12).chars()).take(12).collect();
            prop_assert_eq!(format!("{whole}{places}").parse::<i128>().unwrap(), value.units());
        }
    }

    #[test]
    fn parts_come_back(value in decimal()) {
        let (whole, part) = value.to_parts();
        if (i128::from(i64::MIN)..=i128::from(i64::MAX)).contains(&(value.units() / Decimal::SCALE)) {
            prop_assert_eq!(Decimal::from_parts(whole, part), Ok(value));
            prop_assert_eq!(i128::from(whole) * Decimal::SCALE + i128::from(part), value.units());
        } else {
            let nearest = Decimal::from_parts(whole, part).unwrap();
            prop_assert_eq!(nearest > value, value.is_negative());
        }
    }

    #[test]
    fn sums_and_differences(a in units(), b in units()) {
        let (x, y) = (Credits::from_units(a), Credits::from_units(b));
        prop_assert_eq!(x.checked_add(y).map(Credits::units), a.checked_add(b));
        prop_assert_eq!(x.checked_sub(y).map(Credits::units), a.checked_sub(b));
        prop_assert_eq!(x.checked_neg().map(Credits::units), a.checked_neg());
        prop_assert_eq!(x.checked_abs().map(Credits::units), a.checked_abs());
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x.above(y).units(), if a > b { a.saturating_sub(b) } else { 0 });
        if let Some(sum) = x.checked_add(y) {
            prop_assert_eq!(sum.checked_sub(y), Some(x));
        }
    }

    #[test]
    fn every_ratio_is_exact_and_rounded(a in decimal(), b in decimal(), c in decimal()) {
        for rounding in ALL {
            let units = |result: Result<Decimal, OutOfRange>| result.map(Decimal::units);
            check(a.units(), b.units(), c.units(), rounding, units(a.mul_div(b, c, rounding)))?;
            check(a.units(), b.units(), Decimal::SCALE, rounding, units(a.mul(b, rounding)))?;
            check(Decimal::SCALE, a.units(), b.units(), rounding, units(a.div(b, rounding)))?;
            let percent = a.percent(Percent::new(b), rounding);
            check(a.units(), b.units(), 100 * Decimal::SCALE, rounding, units(percent))?;
            let cost = Price::new(a).times(Quantity::new(b), rounding);
            check(a.units(), b.units(), Decimal::SCALE, rounding, cost.map(Credits::units))?;
        }
    }

    #[test]
    fn whole_units_are_never_rounded(price in -1_000_000_000_000_000_000_i128..1_000_000_000_000_000_000, count: i32) {
        for rounding in ALL {
            let cost = Price::from_units(price).times(Quantity::from_whole(count.into()), rounding).unwrap();
            prop_assert_eq!(cost.units(), price * i128::from(count));
        }
    }

    #[test]
    fn the_opposite_rounds_to_the_opposite(a in decimal(), b in decimal(), c in decimal()) {
        let opposite = a.checked_neg();
        for rounding in ALL {
            if let (Ok(one), Some(Ok(other))) = (a.mul_div(b, c, rounding), opposite.map(|a| a.mul_div(b, c, rounding))) {
                prop_assert_eq!(one.checked_neg(), Some(other));
            }
        }
    }

    #[test]
    fn steps_are_multiples_near_the_value(value in decimal(), step in units()) {
        let step = Decimal::from_units(step.saturating_abs().max(1));
        for rounding in ALL {
            let Ok(rounded) = value.round_to(step, rounding) else { continue };
            prop_assert_eq!(rounded.units() % step.units(), 0);
            check(1, value.units(), step.units(), rounding, Ok(rounded.units() / step.units()))?;
            if let Ok(blocks) = value.blocks(step, rounding) {
                prop_assert_eq!(blocks.units() / Decimal::SCALE, rounded.units() / step.units());
            }
        }
    }

    #[test]
    fn what_is_afforded_can_be_paid(price in 1..=Decimal::LARGEST.units(), credits in 0..=Decimal::LARGEST.units()) {
        let (price, credits) = (Price::from_units(price), Credits::from_units(credits));
        let quantity = price.affords(credits);
        prop_assert!(price.times(quantity, Up).unwrap() <= credits);
        if quantity < Quantity::LARGEST {
            let more = quantity.plus(Quantity::from_units(1)).unwrap();
            prop_assert!(price.times(more, Up).unwrap() > credits);
        }
    }

    #[test]
    fn shares_rounded_down_stay_within_the_whole(amount in 0..=Decimal::LARGEST.units(), a in 0..=1_000_000_i128, b in 1..=1_000_000_i128) {
        let eur = "EUR".parse().unwrap();
        let money = Money::new(Decimal::from_units(amount), eur).unwrap();
        let whole = Credits::from_units(a + b);
        let first = money.share(Credits::from_units(a), whole, Down).unwrap();
        let second = money.share(Credits::from_units(b), whole, Down).unwrap();
        prop_assert!(first.amount().checked_add(second.amount()).unwrap() <= money.amount());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_comes_back(value in units()) {
        let json = serde_json::to_string(&(Credits::from_units(value), Quantity::from_units(value))).unwrap();
        let back: (Credits, Quantity) = serde_json::from_str(&json).unwrap();
        prop_assert_eq!((back.0.units(), back.1.units()), (value, value));
        let bytes = postcard::to_allocvec(&Price::from_units(value)).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Price>(&bytes).unwrap().units(), value);
    }
}
