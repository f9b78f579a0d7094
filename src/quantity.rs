//! Quantities as Kubernetes writes them (`100m`, `2`, `1.5Gi`, `3e6`), exactly.
//!
//! Nothing is computed in floating point and nothing wraps: a text is either a quantity or an error
//! that says why not. As in the API, the finest step is a billionth, and what is finer is rounded
//! away from zero. Source: `k8s.io/apimachinery/pkg/api/resource`, `Quantity`.

use std::{fmt, str::FromStr};

/// A quantity, in whole billionths of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is not a quantity. Completes «`…` is not a quantity: …».
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing to read, or no digit in it.
    #[error("it has no digits; write a number such as 10, 0.5 or 500m")]
    NoDigits,
    /// Something behind the number that is no suffix.
    #[error(
        "`{0}` is not a suffix; use none, n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent such as e3"
    )]
    Suffix(String),
    /// A number that is longer than any real quantity.
    #[error("it has more than {MOST_DIGITS} digits")]
    TooLong,
    /// A number beyond what milli-units hold.
    #[error("it is too large; the largest is 9223372036854775807m")]
    TooLarge,
}

const MOST_DIGITS: usize = 30;
const NANOS_PER_MILLI: i128 = 1_000_000;
const NANOS_PER_UNIT: i128 = 1_000_000_000;

impl Quantity {
    /// The quantity of so many thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * NANOS_PER_MILLI }
    }

    /// In thousandths, rounded away from zero where it is finer, as the API's `MilliValue`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond ±9223372036854775807 thousandths.
    pub fn milli(self) -> Result<i64, Error> {
        i64::try_from(divide_away_from_zero(self.nanos, NANOS_PER_MILLI)).map_err(|_| Error::TooLarge)
    }

    /// In whole units; `None` where there is a fraction.
    pub fn whole(self) -> Option<i128> {
        (self.nanos % NANOS_PER_UNIT == 0).then_some(self.nanos / NANOS_PER_UNIT)
    }

    /// As a floating-point number, for what is a fraction by nature, such as a tolerance: to the last bit what the HPA makes of
    /// it, which is a whole number of the unit in which the API server stores it, times that unit (`AsApproximateFloat64`).
    #[expect(clippy::cast_precision_loss, reason = "a float is asked for")]
    pub fn as_f64(self) -> f64 {
        const UNITS: [f64; 4] = [1e-9, 1e-6, 1e-3, 1.0];
        let (number, unit) = coarsest(self.nanos, 1000, UNITS.len());
        number as f64 * UNITS[unit]
    }
}

/// The text as the API server writes it: the same number in the same family of suffixes (none, k, M; Ki, Mi; e3), with
/// the largest one that needs no fraction. `5120Mi` is `5Gi`, `1.5Gi` is `1536Mi`, `1000m` is `1`.
///
/// Source: `Quantity.CanonicalizeBytes`.
///
/// # Errors
///
/// When the text is no quantity.
pub fn canonical(text: &str) -> Result<String, Error> {
    const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let quantity: Quantity = text.parse()?;
    if quantity.nanos == 0 {
        return Ok("0".to_owned());
    }
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    // Below 1024, and where there is a fraction, the API falls back to the decimal suffixes.
    let binary = quantity.whole().filter(|whole| suffix.ends_with('i') && whole.abs() >= 1024);
    if let Some(whole) = binary {
        let (number, step) = coarsest(whole, 1024, BINARY.len());
        return Ok(format!("{number}{}", BINARY[step]));
    }
    let (number, step) = coarsest(quantity.nanos, 1000, DECIMAL.len());
    if suffix.starts_with(['e', 'E']) && suffix.len() > 1 && step != 3 {
        let thousands = i32::try_from(step).map_err(|_| Error::TooLarge)? - 3;
        return Ok(format!("{number}e{}", thousands * 3));
    }
    Ok(format!("{number}{}", DECIMAL[step]))
}

/// The number in the largest of so many units that needs no fraction, and which unit that is.
fn coarsest(mut number: i128, base: i128, units: usize) -> (i128, usize) {
    let mut step = 0;
    while step + 1 < units && number % base == 0 {
        number /= base;
        step += 1;
    }
    (number, step)
}

/// A floating-point number in thousandths, rounded to the nearest (halves away from zero).
///
/// Nearest and not up, so that the noise of `rate()` (10.0000000001) does not ask for one replica more.
/// What does not fit is held at the largest or smallest number; NaN is `None`.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
pub fn milli_from_f64(value: f64) -> Option<i64> {
    (!value.is_nan()).then(|| (value * 1000.0).round() as i64)
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(Error::NoDigits);
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.len() + fraction.len() > MOST_DIGITS {
            return Err(Error::TooLong);
        }
        let digits = format!("0{whole}{fraction}");
        let mantissa: i128 = digits.parse().map_err(|_| Error::TooLong)?;
        let (ten, two) = powers(suffix)?;
        let places = i32::try_from(fraction.len()).map_err(|_| Error::TooLong)?;
        let nanos = scale(mantissa, ten - places + 9, two).ok_or(Error::TooLarge)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos } })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The powers of ten and of two that a suffix stands for.
fn powers(suffix: &str) -> Result<(i32, u32), Error> {
    Ok(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        // `1E` is exa, `1E3` an exponent: only what has a number behind it gets here.
        _ => match suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i16>().ok()) {
            Some(exponent) => (i32::from(exponent), 0),
            None => return Err(Error::Suffix(suffix.to_owned())),
        },
    })
}

/// `mantissa × 10^ten × 2^two`, rounded away from zero; `None` when it does not fit.
fn scale(mantissa: i128, ten: i32, two: u32) -> Option<i128> {
    if mantissa == 0 {
        return Some(0);
    }
    let mantissa = mantissa.checked_mul(1_i128.checked_shl(two)?)?;
    match 10_i128.checked_pow(ten.unsigned_abs()) {
        Some(power) if ten >= 0 => mantissa.checked_mul(power),
        Some(power) => Some(divide_away_from_zero(mantissa, power)),
        None if ten >= 0 => None,
        None => Some(1),
    }
}

fn divide_away_from_zero(value: i128, by: i128) -> i128 {
    value / by + if value % by == 0 { 0 } else { value.signum() }
}

/// Whole units where it is whole, else the coarsest of `m`, `u`, `n` that loses nothing.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (divisor, suffix) = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u")]
            .into_iter()
            .find(|(divisor, _)| self.nanos % divisor == 0)
            .unwrap_or((1, "n"));
        write!(f, "{}{suffix}", self.nanos / divisor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn milli(text: &str) -> Result<i64, Error> {
        text.parse::<Quantity>().and_then(Quantity::milli)
    }

    /// What Go makes of them: `0.41` is the next float below the first.
    #[rstest]
    #[case::in_thousandths("410m", 0.410_000_000_000_000_03)]
    #[case::as_the_api_server_stores_it("0.41", 0.410_000_000_000_000_03)]
    #[case::a_tenth("0.1", 0.1)]
    #[case::in_millionths("1500u", 0.0015)]
    #[case::whole("2", 2.0)]
    #[case::nothing("0", 0.0)]
    fn a_fraction_is_to_the_last_bit_what_the_hpa_reckons_with(#[case] text: &str, #[case] expected: f64) {
        assert_eq!(text.parse::<Quantity>().map(|quantity| quantity.as_f64().to_bits()), Ok(expected.to_bits()));
    }

    #[rstest]
    #[case::whole("10", 10_000)]
    #[case::milli("500m", 500)]
    #[case::fraction("0.5", 500)]
    #[case::no_whole_part(".5", 500)]
    #[case::no_fraction("5.", 5_000)]
    #[case::signed("+2", 2_000)]
    #[case::negative("-2.5", -2_500)]
    #[case::kilo("2k", 2_000_000)]
    #[case::kibi("1Ki", 1_024_000)]
    #[case::half_a_gibi("1.5Gi", 1_610_612_736_000)]
    #[case::peta("9P", 9_000_000_000_000_000_000)]
    #[case::pebi("8Pi", 9_007_199_254_740_992_000)]
    #[case::exponent("3e6", 3_000_000_000)]
    #[case::capital_exponent("3E6", 3_000_000_000)]
    #[case::negative_exponent("25e-1", 2_500)]
    #[case::finer_than_milli_rounds_up("0.0001", 1)]
    #[case::finer_than_milli_rounds_away_from_zero("-0.0001", -1)]
    #[case::micro("1500u", 2)]
    #[case::nothing_at_all("0", 0)]
    #[case::tiny("1e-300", 1)]
    #[case::largest("9223372036854775807m", i64::MAX)]
    fn reads(#[case] text: &str, #[case] expected: i64) {
        assert_eq!(milli(text), Ok(expected));
    }

    #[rstest]
    #[case::empty("", Error::NoDigits)]
    #[case::sign_only("-", Error::NoDigits)]
    #[case::dot(".", Error::NoDigits)]
    #[case::word("ten", Error::NoDigits)]
    #[case::space("10 ", Error::Suffix(" ".to_owned()))]
    #[case::wrong_case("10K", Error::Suffix("K".to_owned()))]
    #[case::bytes("10MB", Error::Suffix("MB".to_owned()))]
    #[case::bare_exponent("1e", Error::Suffix("e".to_owned()))]
    #[case::exa("10E", Error::TooLarge)]
    #[case::exbi("1Ei", Error::TooLarge)]
    #[case::huge_exponent("1e300", Error::TooLarge)]
    #[case::one_too_many("9223372036854775808m", Error::TooLarge)]
    #[case::endless("1234567890123456789012345678901", Error::TooLong)]
    fn refuses(#[case] text: &str, #[case] expected: Error) {
        assert_eq!(milli(text), Err(expected));
    }

    #[rstest]
    #[case::exa("1E", "1000000000000000000")]
    #[case::exbi("1Ei", "1152921504606846976")]
    #[case::milli("1500m", "1500m")]
    #[case::whole("2000m", "2")]
    #[case::micro("1500u", "1500u")]
    #[case::nano("-7n", "-7n")]
    fn prints(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Quantity>().expect("a quantity").to_string(), expected);
    }

    #[rstest]
    #[case::already("5Gi", "5Gi")]
    #[case::next_larger_binary("5120Mi", "5Gi")]
    #[case::binary_fraction("1.5Gi", "1536Mi")]
    #[case::small_binary("0.5Ki", "512")]
    #[case::binary_with_a_rest("1000Ki", "1000Ki")]
    #[case::next_larger_decimal("5000M", "5G")]
    #[case::decimal_fraction("1.5G", "1500M")]
    #[case::zeros("05.0G", "5G")]
    #[case::plain("5000000000", "5G")]
    #[case::plain_with_a_rest("5368709120", "5368709120")]
    #[case::milli("1000m", "1")]
    #[case::half("0.5", "500m")]
    #[case::exponent("50e8", "5e9")]
    #[case::exponent_of_three("5e10", "50e9")]
    #[case::exponent_that_is_none("5e0", "5")]
    #[case::negative("-2048Ki", "-2Mi")]
    #[case::nothing("0Gi", "0")]
    fn as_the_api_server_writes_it(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(canonical(text).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case::noise_of_a_rate(10.000_000_000_1, Some(10_000))]
    #[case::half_up(0.0005, Some(1))]
    #[case::too_large(1e300, Some(i64::MAX))]
    #[case::too_small(f64::NEG_INFINITY, Some(i64::MIN))]
    #[case::not_a_number(f64::NAN, None)]
    fn from_floating_point(#[case] value: f64, #[case] expected: Option<i64>) {
        assert_eq!(milli_from_f64(value), expected);
    }

    proptest! {
        #[test]
        fn every_milli_value_survives_the_round_trip(value: i64) {
            prop_assert_eq!(milli(&Quantity::from_milli(value).to_string()), Ok(value));
        }

        #[test]
        fn the_canonical_form_is_the_same_number_and_its_own_canonical_form(
            text in "[0-9]{1,9}(\\.[0-9]{1,3})?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]|E-[0-9])?"
        ) {
            let form = canonical(&text).expect("a quantity");
            prop_assert_eq!(form.parse::<Quantity>(), text.parse::<Quantity>());
            prop_assert_eq!(canonical(&form), Ok(form));
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.eEkKmMinuGTP]{0,40}") {
            let _ = (milli(&text), canonical(&text));
        }
    }
}
