//! How much Prometheus may keep, against the volume that it keeps it on.

use crate::quantity::Quantity;

const MEBIBYTE: f64 = 1_048_576.0;

/// Of a volume, how much blocks may take: the write-ahead log and a compaction need room beside them.
const SHARE: f64 = 0.8;

/// The size for a volume of which nothing else was said.
pub fn size_for(volume: &str) -> Option<String> {
    let mebibytes = (bytes_of_volume(volume)? * SHARE / MEBIBYTE).floor();
    Some(format!("{}MB", mebibytes.max(1.0)))
}

/// Whether a size leaves the room that the write-ahead log and a compaction need; also where it cannot be told.
pub fn leaves_room(size: &str, volume: &str) -> bool {
    let (wanted, have) = (bytes_of_size(size), bytes_of_volume(volume));
    wanted.zip(have).is_none_or(|(wanted, have)| wanted <= have * SHARE)
}

/// Why a size does not fit onto a volume. A volume that is full stops Prometheus; its oldest blocks only go by this size.
pub fn misfit(size: &str, volume: &str) -> Option<String> {
    let (wanted, have) = (bytes_of_size(size)?, bytes_of_volume(volume)?);
    (wanted > have).then(|| {
        format!(
            "{size} does not fit onto the volume of {volume}: {} at most, or a larger storage.prometheus",
            size_for(volume).unwrap_or_default()
        )
    })
}

fn bytes_of_volume(volume: &str) -> Option<f64> {
    volume.parse::<Quantity>().ok().map(Quantity::as_f64)
}

/// A size as Prometheus writes it, in powers of 1024 whether the unit has an i or not.
fn bytes_of_size(size: &str) -> Option<f64> {
    let unit = size.find(|c: char| c.is_ascii_alphabetic())?;
    let power = "BKMGTPE".find(size[unit..].chars().next()?)?;
    let power = i32::try_from(power).ok()?;
    Some(size[..unit].parse::<f64>().ok()? * 1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5Gi", "4096MB")]
    #[case("20Gi", "16384MB")]
    #[case("2G", "1525MB")]
    #[case("1Mi", "1MB")]
    fn most_of_a_volume_is_for_blocks(#[case] volume: &str, #[case] expected: &str) {
        assert_eq!(size_for(volume).as_deref(), Some(expected));
    }

    #[rstest]
    #[case("4GB", "5Gi", true)]
    #[case("5GB", "5Gi", false)]
    #[case("nonsense", "5Gi", true)]
    fn a_size_leaves_room_or_does_not(#[case] size: &str, #[case] volume: &str, #[case] expected: bool) {
        assert_eq!(leaves_room(size, volume), expected);
    }

    #[rstest]
    #[case::less("4GB", "5Gi", true)]
    #[case::all_of_it("5GiB", "5Gi", true)]
    #[case::more("10GB", "5Gi", false)]
    #[case::a_fraction_more("5.1GB", "5Gi", false)]
    #[case::decimal_volume("2GB", "2G", false)]
    fn a_size_fits_or_does_not(#[case] size: &str, #[case] volume: &str, #[case] fits: bool) {
        assert_eq!(misfit(size, volume).is_none(), fits, "{:?}", misfit(size, volume));
    }
}
