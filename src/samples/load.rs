//! Spreading tasks over the pods of a sample workload. Pure.
//!
//! Tasks live in the memory of one pod each, so a wish about their sum has to become a number for
//! every pod.

use std::cmp::Reverse;

/// What one pod has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLoad {
    /// The pod's name.
    pub pod: String,
    /// Its active tasks.
    pub active: u64,
}

/// What is asked for, of all pods together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// So many more.
    Add(u32),
    /// So many in the end.
    SetTo(u32),
    /// So many fewer.
    Finish(u32),
}

/// What is to be done in one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Start so many tasks.
    Start(u64),
    /// End so many tasks, never more than the pod has.
    Finish(u64),
}

/// One pod's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The pod's name.
    pub pod: String,
    /// What is to be done there; never zero.
    pub change: Change,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is nobody to start a task.
    #[error("there is no pod to start tasks in")]
    NoPods,
    /// More was to end than there is.
    #[error("cannot finish {wanted} tasks: {active} are active")]
    TooFew {
        /// How many were to end.
        wanted: u32,
        /// How many there are.
        active: u128,
    },
}

/// Shares a wish out, so that the pods end up as even as they can.
///
/// New tasks go where the fewest are, tasks end where the most are. What does not divide evenly goes to
/// the pods that had the fewest (or the most) before, and between equals to the name that sorts first,
/// so that the same counts always give the same answer. Pods with nothing to do are left out.
///
/// # Errors
///
/// Refuses to end more tasks than there are, and to start tasks without a pod. Nothing is shared out then.
pub fn share_out(pods: &[PodLoad], wish: Wish) -> Result<Vec<Share>, LoadError> {
    let active: u128 = pods.iter().map(|pod| u128::from(pod.active)).sum();
    match wish {
        Wish::Add(count) => start(pods, count.into()),
        Wish::Finish(count) if u128::from(count) > active => Err(LoadError::TooFew { wanted: count, active }),
        Wish::Finish(count) => Ok(finish(pods, count.into())),
        Wish::SetTo(count) if u128::from(count) >= active => {
            // Smaller than a u32, since the wish is one.
            start(pods, u64::try_from(u128::from(count) - active).unwrap_or(u64::MAX))
        }
        Wish::SetTo(count) => Ok(finish(pods, active - u128::from(count))),
    }
}

fn start(pods: &[PodLoad], count: u64) -> Result<Vec<Share>, LoadError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if pods.is_empty() {
        return Err(LoadError::NoPods);
    }
    let mut order: Vec<&PodLoad> = pods.iter().collect();
    order.sort_by_key(|pod| (pod.active, &pod.pod));
    let distances: Vec<u64> = order.iter().map(|pod| pod.active - order[0].active).collect();
    Ok(shares(&order, &level(&distances, count.into()), Change::Start))
}

fn finish(pods: &[PodLoad], count: u128) -> Vec<Share> {
    let mut order: Vec<&PodLoad> = pods.iter().collect();
    order.sort_by_key(|pod| (Reverse(pod.active), &pod.pod));
    let distances: Vec<u64> = order.iter().map(|pod| order[0].active - pod.active).collect();
    shares(&order, &level(&distances, count), Change::Finish)
}

fn shares(order: &[&PodLoad], counts: &[u64], change: fn(u64) -> Change) -> Vec<Share> {
    let counted = order.iter().zip(counts).filter(|(_, count)| **count > 0);
    counted.map(|(pod, count)| Share { pod: pod.pod.clone(), change: change(*count) }).collect()
}

/// Pours `count` over places that stand at rising distances from the first, as water finds its level.
///
/// With distances 0, 3, 5 and 8 to pour: the first takes 3 to be level with the second, then both take
/// 2 to be level with the third, and the last one goes to the first: 6, 2, 0.
fn level(distances: &[u64], count: u128) -> Vec<u64> {
    let mut left = count;
    let mut wet = usize::from(!distances.is_empty());
    while wet < distances.len() {
        let step = u128::from(distances[wet] - distances[wet - 1]) * wet as u128;
        if step > left {
            break;
        }
        left -= step;
        wet += 1;
    }
    let mut poured = vec![0; distances.len()];
    for (place, amount) in poured.iter_mut().take(wet).enumerate() {
        let even = u128::from(distances[wet - 1] - distances[place]) + left / wet as u128;
        let odd = u128::from((place as u128) < left % wet as u128);
        *amount = u64::try_from(even + odd).unwrap_or(u64::MAX);
    }
    poured
}

/// Cuts a count into requests that the workload takes, the largest first.
pub fn requests(count: u64) -> impl Iterator<Item = u64> {
    let largest = super::watcherbot::MAX_COUNT;
    (0..count.div_ceil(largest)).map(move |index| largest.min(count - index * largest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn pods(counts: &[u64]) -> Vec<PodLoad> {
        counts
            .iter()
            .enumerate()
            .map(|(index, active)| PodLoad { pod: format!("pod-{index}"), active: *active })
            .collect()
    }

    /// The counts afterwards. Panics when a pod is asked for more than it has, or asked twice.
    fn after(before: &[PodLoad], shares: &[Share]) -> Vec<u64> {
        let mut counts: Vec<Option<u64>> = vec![None; before.len()];
        for share in shares {
            let index = before.iter().position(|pod| pod.pod == share.pod).unwrap();
            assert!(counts[index].is_none(), "{share:?} comes twice");
            counts[index] = Some(match share.change {
                Change::Start(0) | Change::Finish(0) => panic!("{share:?} does nothing"),
                Change::Start(count) => before[index].active + count,
                Change::Finish(count) => before[index].active.checked_sub(count).unwrap(),
            });
        }
        before.iter().zip(counts).map(|(pod, count)| count.unwrap_or(pod.active)).collect()
    }

    #[rstest]
    #[case::one_pod(&[0], Wish::Add(25), &[25])]
    #[case::evenly(&[0, 0, 0], Wish::Add(25), &[9, 8, 8])]
    #[case::fewest_first(&[10, 0, 0], Wish::Add(5), &[10, 3, 2])]
    #[case::fills_up_and_then_evenly(&[0, 3, 5], Wish::Add(8), &[6, 5, 5])]
    #[case::add_nothing(&[4, 2], Wish::Add(0), &[4, 2])]
    #[case::set_up(&[5, 0], Wish::SetTo(45), &[22, 23])]
    #[case::set_down(&[20, 15, 10], Wish::SetTo(5), &[1, 2, 2])]
    #[case::set_to_nothing(&[20, 0, 7], Wish::SetTo(0), &[0, 0, 0])]
    #[case::set_to_what_is(&[3, 2], Wish::SetTo(5), &[3, 2])]
    #[case::ends_where_some_are(&[0, 20, 0], Wish::Finish(20), &[0, 0, 0])]
    #[case::ends_where_most_are(&[9, 8, 8], Wish::Finish(2), &[7, 8, 8])]
    #[case::nothing_anywhere(&[], Wish::SetTo(0), &[])]
    #[case::nothing_to_end(&[], Wish::Finish(0), &[])]
    fn shares_out(#[case] counts: &[u64], #[case] wish: Wish, #[case] expected: &[u64]) {
        let pods = pods(counts);
        assert_eq!(after(&pods, &share_out(&pods, wish).unwrap()), expected);
    }

    #[rstest]
    #[case::too_many(&[3, 4], Wish::Finish(8), "cannot finish 8 tasks: 7 are active")]
    #[case::none_at_all(&[0], Wish::Finish(1), "cannot finish 1 tasks: 0 are active")]
    #[case::nobody(&[], Wish::Add(1), "there is no pod to start tasks in")]
    #[case::nobody_to_set(&[], Wish::SetTo(1), "there is no pod to start tasks in")]
    fn refuses(#[case] counts: &[u64], #[case] wish: Wish, #[case] why: &str) {
        assert_eq!(share_out(&pods(counts), wish).unwrap_err().to_string(), why);
    }

    #[test]
    fn the_order_in_which_pods_are_listed_does_not_matter() {
        let mut pods = pods(&[4, 1, 1, 9]);
        let shares = share_out(&pods, Wish::Add(11)).unwrap();
        pods.reverse();
        assert_eq!(share_out(&pods, Wish::Add(11)).unwrap(), shares);
    }

    #[rstest]
    #[case::none(0, &[])]
    #[case::one(1, &[1])]
    #[case::full(100_000, &[100_000])]
    #[case::cut(250_001, &[100_000, 100_000, 50_001])]
    fn large_counts_are_cut(#[case] count: u64, #[case] expected: &[u64]) {
        assert_eq!(requests(count).collect::<Vec<_>>(), expected);
    }

    /// One task at a time, by the rule in words: the oracle.
    fn one_by_one(counts: &[u64], wish: Wish) -> Vec<u64> {
        let mut counts = counts.to_vec();
        let active: u64 = counts.iter().sum();
        let (starts, ends) = match wish {
            Wish::Add(count) => (u64::from(count), 0),
            Wish::Finish(count) => (0, u64::from(count)),
            Wish::SetTo(count) => (u64::from(count).saturating_sub(active), active.saturating_sub(count.into())),
        };
        for _ in 0..starts {
            let least = counts.iter().copied().min().unwrap();
            *counts.iter_mut().find(|count| **count == least).unwrap() += 1;
        }
        for _ in 0..ends {
            let most = counts.iter().copied().max().unwrap();
            *counts.iter_mut().find(|count| **count == most).unwrap() -= 1;
        }
        counts
    }

    fn wish() -> impl Strategy<Value = Wish> {
        prop_oneof![
            (0_u32..300).prop_map(Wish::Add),
            (0_u32..300).prop_map(Wish::SetTo),
            (0_u32..300).prop_map(Wish::Finish)
        ]
    }

    proptest! {
        #[test]
        fn the_sum_is_what_was_wished(counts in prop::collection::vec(0_u64..60, 1..8), wish in wish()) {
            let pods = pods(&counts);
            let active: u64 = counts.iter().sum();
            let wanted = match wish {
                Wish::Add(count) => Some(active + u64::from(count)),
                Wish::SetTo(count) => Some(count.into()),
                Wish::Finish(count) => active.checked_sub(count.into()),
            };
            let sum = share_out(&pods, wish).ok().map(|shares| after(&pods, &shares).iter().sum::<u64>());
            prop_assert_eq!(sum, wanted);
        }

        #[test]
        fn pods_end_up_as_even_as_by_one_task_at_a_time(counts in prop::collection::vec(0_u64..60, 1..8), wish in wish()) {
            let pods = pods(&counts);
            if let Ok(shares) = share_out(&pods, wish) {
                let (mut ours, mut theirs) = (after(&pods, &shares), one_by_one(&counts, wish));
                ours.sort_unstable();
                theirs.sort_unstable();
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn counts_of_any_size_are_taken(counts in prop::collection::vec(any::<u64>(), 0..6), count in any::<u32>()) {
            let pods = pods(&counts);
            let active: u128 = counts.iter().map(|count| u128::from(*count)).sum();
            for wish in [Wish::SetTo(count), Wish::Finish(count)] {
                for share in share_out(&pods, wish).unwrap_or_default() {
                    let pod = pods.iter().find(|pod| pod.pod == share.pod).unwrap();
                    match share.change {
                        Change::Finish(count) => prop_assert!(count <= pod.active),
                        Change::Start(_) => prop_assert!(active < u128::from(count)),
                    }
                }
            }
        }

        #[test]
        fn requests_add_up(count in 0_u64..10_000_000) {
            prop_assert_eq!(requests(count).sum::<u64>(), count);
            prop_assert!(requests(count).all(|request| (1..=super::super::watcherbot::MAX_COUNT).contains(&request)));
        }
    }
}
