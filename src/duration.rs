//! Durations as Prometheus writes them (`common/model.ParseDuration`).

const UNITS: [(&str, u64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// No whole number where one has to be.
    Number,
    /// A unit that there is not, a second time, or before a larger one.
    Unit,
    /// Longer than was asked for.
    TooLong,
}

/// Reads whole numbers with y, w, d, h, m, s or ms, from the largest unit to the smallest, each once, in milliseconds.
/// A text without any is 0.
///
/// # Errors
///
/// The first mistake; one of more than `longest` milliseconds is one.
pub fn milliseconds(text: &str, longest: u64) -> Result<u64, Mistake> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut milliseconds: u64 = 0;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let unit = &behind[..behind.bytes().take_while(u8::is_ascii_lowercase).count()];
        let number: u64 = number.parse().map_err(|_| Mistake::Number)?;
        let (_, factor) = units.by_ref().find(|(name, _)| *name == unit).ok_or(Mistake::Unit)?;
        milliseconds = number
            .checked_mul(*factor)
            .and_then(|part| milliseconds.checked_add(part))
            .filter(|all| *all <= longest)
            .ok_or(Mistake::TooLong)?;
        rest = &behind[unit.len()..];
    }
    Ok(milliseconds)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one_unit("15s", Ok(15_000))]
    #[case::several("1h30m5ms", Ok(5_400_005))]
    #[case::nothing("", Ok(0))]
    #[case::no_number("h", Err(Mistake::Number))]
    #[case::no_unit("15", Err(Mistake::Unit))]
    #[case::another_unit("15min", Err(Mistake::Unit))]
    #[case::the_wrong_way_round("30m1h", Err(Mistake::Unit))]
    #[case::twice("1h1h", Err(Mistake::Unit))]
    #[case::longer_than_asked_for("2d", Err(Mistake::TooLong))]
    #[case::longer_than_anything("99999999999999999y", Err(Mistake::TooLong))]
    fn durations(#[case] text: &str, #[case] expected: Result<u64, Mistake>) {
        assert_eq!(milliseconds(text, 86_400_000), expected);
    }
}
