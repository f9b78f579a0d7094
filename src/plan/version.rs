//! Which of two versions of scalekit is newer.

/// Whether `installed` is newer than `ours`, by the precedence of semantic versioning; build metadata does not count.
/// What is no version is no newer: a build for development may call itself anything.
pub fn is_newer(installed: &str, ours: &str) -> bool {
    match (parse(installed), parse(ours)) {
        (Some(installed), Some(ours)) => installed > ours,
        _ => false,
    }
}

/// Release numbers, whether it is a release proper, and the parts of its pre-release.
type Parsed<'a> = ([u64; 3], bool, Vec<Identifier<'a>>);

/// A part of a pre-release: numbers come before words.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identifier<'a> {
    Number(u64),
    Word(&'a str),
}

fn parse(text: &str) -> Option<Parsed<'_>> {
    let text = text.trim_start_matches('v').split('+').next()?;
    let (release, pre) = text.split_once('-').map_or((text, None), |(release, pre)| (release, Some(pre)));
    let numbers: Vec<u64> = release.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let numbers = numbers.try_into().ok()?;
    let parts = pre.into_iter().flat_map(|pre| pre.split('.'));
    let parts = parts.map(|part| part.parse().map_or(Identifier::Word(part), Identifier::Number)).collect();
    Some((numbers, pre.is_none(), parts))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_same("0.1.0", "0.1.0", false)]
    #[case::a_patch("0.1.1", "0.1.0", true)]
    #[case::numbers_are_no_words("0.10.0", "0.9.0", true)]
    #[case::older("0.1.0", "1.0.0", false)]
    #[case::a_release_after_its_candidate("1.0.0", "1.0.0-rc.1", true)]
    #[case::a_candidate_before_its_release("1.0.0-rc.2", "1.0.0", false)]
    #[case::candidates_by_number("1.0.0-rc.10", "1.0.0-rc.9", true)]
    #[case::build_metadata("1.0.0+a", "1.0.0+b", false)]
    #[case::no_version("main", "1.0.0", false)]
    #[case::too_short("2.0", "1.0.0", false)]
    fn compares(#[case] installed: &str, #[case] ours: &str, #[case] expected: bool) {
        assert_eq!(is_newer(installed, ours), expected);
    }
}
