//! Products and quotients of magnitudes with a 256-bit intermediate, and the short ways that most of them can take.

/// `a * b = quotient * divisor + rest`.
#[derive(Clone, Copy)]
pub(crate) struct Division {
    pub(crate) quotient: u128,
    /// Below `divisor`.
    pub(crate) rest: u128,
    pub(crate) divisor: u128,
}

/// `a * b / divisor`; none when the divisor is zero or the quotient does not fit.
///
/// With `b = whole * divisor + rest`, the quotient is `a * whole + a * rest / divisor`, and the second product is
/// small or zero for nearly all amounts: no rest for a whole quantity, less than 100 for a whole percentage. A
/// 128-bit division costs a WebAssembly module hundreds of instructions and a 64-bit one a single one.
pub(crate) fn multiply_divide(a: u128, b: u128, divisor: u128) -> Option<Division> {
    if let (Ok(a), Ok(b), Ok(divisor)) = (u64::try_from(a), u64::try_from(b), u64::try_from(divisor)) {
        return narrow(a, b, divisor);
    }
    let (whole, rest) = divide(b, divisor)?;
    let whole = a.checked_mul(whole)?;
    if rest == 0 {
        return Some(Division { quotient: whole, rest, divisor });
    }
    let (high, low) = multiply(a, rest);
    let (part, rest) = divide_wide(high, low, divisor)?;
    Some(Division { quotient: whole.checked_add(part)?, rest, divisor })
}

fn narrow(a: u64, b: u64, divisor: u64) -> Option<Division> {
    let (whole, rest) = (b.checked_div(divisor)?, b.checked_rem(divisor)?);
    // Two 64-bit factors always fit.
    let whole = u128::from(a) * u128::from(whole);
    let (part, rest) = if rest == 0 {
        (0, 0)
    } else if a.leading_zeros() + rest.leading_zeros() >= u64::BITS {
        let product = a.wrapping_mul(rest);
        (u128::from(product / divisor), u128::from(product % divisor))
    } else {
        let product = u128::from(a) * u128::from(rest);
        (product / u128::from(divisor), product % u128::from(divisor))
    };
    Some(Division { quotient: whole.checked_add(part)?, rest, divisor: u128::from(divisor) })
}

/// Quotient and rest; none when the divisor is zero.
pub(crate) fn divide(value: u128, divisor: u128) -> Option<(u128, u128)> {
    if let (Ok(value), Ok(divisor)) = (u64::try_from(value), u64::try_from(divisor)) {
        return Some((u128::from(value.checked_div(divisor)?), u128::from(value % divisor)));
    }
    Some((value.checked_div(divisor)?, value.checked_rem(divisor)?))
}

/// The high and the low half of a 256-bit product, by 64-bit digits.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    if a1 == 0 && b1 == 0 {
        return (0, a0 * b0);
    }
    let low = a0 * b0;
    // Each is at most (2^64 - 1)^2 + 2 (2^64 - 1), which is 2^128 - 1.
    let middle = a1 * b0 + (low >> 64);
    let cross = a0 * b1 + (middle & LOW);
    (a1 * b1 + (middle >> 64) + (cross >> 64), (cross << 64) | (low & LOW))
}

/// Quotient and rest of `high * 2^128 + low`; none when the quotient does not fit.
fn divide_wide(high: u128, low: u128, divisor: u128) -> Option<(u128, u128)> {
    if high == 0 {
        return divide(low, divisor);
    }
    if high >= divisor {
        return None;
    }
    // Restoring division, one bit at a time: only products beyond 3.4 × 10^38 come here.
    let (mut rest, mut quotient) = (high, 0);
    for bit in (0..u128::BITS).rev() {
        let overflows = rest >> 127 == 1;
        rest = (rest << 1) | ((low >> bit) & 1);
        if overflows || rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1 << bit;
        }
    }
    Some((quotient, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_extremes_multiply_and_divide() {
        let max = u128::MAX;
        assert_eq!(multiply(max, max), (max - 1, 1));
        assert_eq!(divide_wide(max - 1, 1, max), Some((max, 0)));
        assert_eq!(divide_wide(max - 1, max, max), Some((max, max - 1)));
        assert_eq!(divide_wide(max, 0, max), None);
        assert_eq!(divide(1, 0), None);
        assert!(multiply_divide(1, 1, 0).is_none());
        assert!(multiply_divide(max, 1, 0).is_none());
        assert!(multiply_divide(max, 2, 1).is_none());
    }

    fn any_width() -> impl Strategy<Value = u128> {
        (any::<u128>(), 0..128_u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn narrow_agrees_with_wide(a: u64, b: u64, divisor in 1..=u64::MAX, shifts: (u8, u8, u8)) {
            let (a, b) = (a >> (shifts.0 % 64), b >> (shifts.1 % 64));
            let divisor = (divisor >> (shifts.2 % 64)).max(1);
            let (high, low) = multiply(a.into(), b.into());
            prop_assert_eq!(high, 0);
            prop_assert_eq!(low, u128::from(a) * u128::from(b));
            let (quotient, rest) = (low / u128::from(divisor), low % u128::from(divisor));
            let fast = narrow(a, b, divisor).unwrap();
            prop_assert_eq!((fast.quotient, fast.rest, fast.divisor), (quotient, rest, divisor.into()));
        }

        /// Multiplying back gives the dividend, and the rest is below the divisor: no other quotient does.
        #[test]
        fn a_division_multiplies_back(a in any_width(), b in any_width(), divisor in any_width()) {
            let divisor = divisor.max(1);
            let (high, low) = multiply(a, b);
            match multiply_divide(a, b, divisor) {
                Some(division) => {
                    prop_assert!(division.rest < divisor);
                    let (back, below) = multiply(division.quotient, divisor);
                    let (below, carry) = below.overflowing_add(division.rest);
                    prop_assert_eq!((back + u128::from(carry), below), (high, low));
                }
                None => prop_assert!(high >= divisor, "{} * {} / {} fits", a, b, divisor),
            }
        }

        /// The 256-bit product against 32-bit schoolbook multiplication.
        #[test]
        fn products_agree_with_schoolbook(a in any_width(), b in any_width()) {
            let digits = |value: u128| [0, 32, 64, 96].map(|shift| (value >> shift) as u32 as u64);
            let mut product = [0_u64; 8];
            for (i, x) in digits(a).into_iter().enumerate() {
                let mut carry = 0;
                for (j, y) in digits(b).into_iter().enumerate() {
                    let sum = product[i + j] + x * y + carry;
                    (product[i + j], carry) = (sum & 0xffff_ffff, sum >> 32);
                }
                product[i + 4] = carry;
            }
            let half = |digits: &[u64]| digits.iter().rev().fold(0, |sum, digit| (sum << 32) | u128::from(*digit));
            prop_assert_eq!(multiply(a, b), (half(&product[4..]), half(&product[..4])));
        }
    }
}
