//! Decisions about one object in a row, in few bytes.
//!
//! Most numbers of a decision are those of the one before it: what is kept of each is by how much it differs, in as few
//! bytes as that takes, nearly always one. The rest, which is large and changes seldom, is kept once for all that have it.

use std::sync::Arc;

use super::{Basis, Chain, Frame, LimitReason, Path, Point, Run, Trouble};

/// What many decisions have in common: everything but numbers.
#[derive(Clone, Debug, PartialEq)]
struct Common {
    path: Path,
    limit: LimitReason,
    /// Of each metric: what its proposal rests on, and whether there was nothing to read.
    bases: Box<[(Option<Basis>, bool)]>,
    frame: Arc<Frame>,
    failure: Option<Arc<String>>,
    held: Option<Arc<String>>,
    trouble: Option<Arc<Trouble>>,
    chain: Option<Arc<Chain>>,
}

impl Common {
    fn of(run: &Run) -> Self {
        Self {
            path: run.path,
            limit: run.limit,
            bases: run.points.iter().map(|point| (point.basis, point.absent)).collect(),
            frame: run.frame.clone(),
            failure: run.failure.clone(),
            held: run.held.clone(),
            trouble: run.trouble.clone(),
            chain: run.chain.clone(),
        }
    }

    /// How many bytes it takes beside itself, without what it shares with another one.
    fn bytes(&self, other: Option<&Self>) -> usize {
        let text = |text: Option<&Arc<String>>, of: fn(&Self) -> Option<&Arc<String>>| {
            let is_shared = text.zip(other.and_then(of)).is_some_and(|(text, other)| Arc::ptr_eq(text, other));
            text.filter(|_| !is_shared).map_or(0, |text| text.len() + size_of::<String>())
        };
        let frame = match other {
            Some(other) if Arc::ptr_eq(&self.frame, &other.frame) => 0,
            _ => {
                size_of::<Frame>()
                    + self.frame.metrics.iter().map(|known| size_of_val(known) + known.name.len()).sum::<usize>()
            }
        };
        let trouble = match (&self.trouble, other.and_then(|other| other.trouble.as_ref())) {
            (Some(trouble), Some(other)) if Arc::ptr_eq(trouble, other) => 0,
            (Some(trouble), _) => size_of::<Trouble>() + trouble.message().len(),
            (None, _) => 0,
        };
        let chain = match (&self.chain, other.and_then(|other| other.chain.as_ref())) {
            (Some(chain), Some(other)) if Arc::ptr_eq(chain, other) => 0,
            (Some(chain), _) => chain.bytes(),
            (None, _) => 0,
        };
        size_of_val(&*self.bases)
            + frame
            + trouble
            + chain
            + text(self.failure.as_ref(), |common| common.failure.as_ref())
            + text(self.held.as_ref(), |common| common.held.as_ref())
    }
}

impl Run {
    /// How many bytes it takes, with all that it may share with others.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.points) + Common::of(self).bytes(None)
    }
}

/// The numbers of a decision but those of its metrics, of which each has two.
const NUMBERS: usize = 9;

fn numbers(run: &Run) -> Vec<i64> {
    let Run { from_s, to_s, current, status, desired, proposed, stabilized, limited, cooling_down_s, .. } = *run;
    let counts = [current, status, desired, proposed, stabilized, limited].map(i64::from);
    let mut numbers = Vec::with_capacity(NUMBERS + 2 * run.points.len());
    numbers.extend([from_s.into(), i64::from(to_s) - i64::from(from_s), cooling_down_s.into()]);
    numbers.extend(counts);
    numbers.extend(run.points.iter().flat_map(|point| [point.value, point.proposed.into()]));
    numbers
}

/// The decision that has these numbers; `None` where they are not those of one.
fn run(common: &Common, numbers: &[i64]) -> Option<Run> {
    let (own, of_metrics) = numbers.split_first_chunk::<NUMBERS>()?;
    let &[from_s, lasted_s, cooling_down_s, counts @ ..] = own;
    let mut of_counts = counts.iter().map(|count| i32::try_from(*count).ok());
    let mut count = || of_counts.next()?;
    let point = |(&(basis, absent), number): (&(Option<Basis>, bool), &[i64])| {
        Some(Point { value: *number.first()?, proposed: i32::try_from(*number.get(1)?).ok()?, basis, absent })
    };
    Some(Run {
        points: common.bases.iter().zip(of_metrics.chunks(2)).map(point).collect::<Option<_>>()?,
        from_s: u32::try_from(from_s).ok()?,
        to_s: u32::try_from(from_s + lasted_s).ok()?,
        cooling_down_s: u32::try_from(cooling_down_s).ok()?,
        current: count()?,
        status: count()?,
        desired: count()?,
        proposed: count()?,
        stabilized: count()?,
        limited: count()?,
        path: common.path,
        limit: common.limit,
        frame: common.frame.clone(),
        failure: common.failure.clone(),
        held: common.held.clone(),
        trouble: common.trouble.clone(),
        chain: common.chain.clone(),
    })
}

/// Decisions in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    common: Vec<Common>,
    bytes: Vec<u8>,
    /// The numbers of the last one, which the next is told by.
    last: Vec<i64>,
    count: usize,
    from_s: u32,
    to_s: u32,
    /// What the common parts take.
    common_bytes: usize,
}

impl Packed {
    /// Takes in the next decision, which is over.
    pub fn push(&mut self, run: &Run) {
        let common = Common::of(run);
        let place = self.common.iter().rposition(|known| *known == common).unwrap_or_else(|| {
            self.common_bytes += common.bytes(self.common.last());
            if self.common.is_empty() {
                // Most objects have but one.
                self.common.reserve_exact(1);
            }
            self.common.push(common);
            self.common.len() - 1
        });
        write(&mut self.bytes, place as u64);
        let numbers = numbers(run);
        for (at, number) in numbers.iter().enumerate() {
            let before = self.last.get(at).copied().unwrap_or(0);
            write(&mut self.bytes, zigzag(number.wrapping_sub(before)));
        }
        self.last = numbers;
        if self.count == 0 {
            self.from_s = run.from_s;
        }
        (self.count, self.to_s) = (self.count + 1, run.to_s);
    }

    /// No other will be taken in: what only the next one would need is given back.
    pub fn seal(&mut self) {
        self.last = Vec::new();
        self.bytes.shrink_to_fit();
        self.common.shrink_to_fit();
    }

    /// All of them, in order.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::with_capacity(self.count);
        let (mut bytes, mut last) = (&*self.bytes, Vec::<i64>::new());
        while let Some(common) = read(&mut bytes).and_then(|place| self.common.get(usize::try_from(place).ok()?)) {
            let mut numbers = Vec::with_capacity(last.len());
            for at in 0..NUMBERS + 2 * common.bases.len() {
                let before = last.get(at).copied().unwrap_or(0);
                numbers.extend(read(&mut bytes).map(|differs| before.wrapping_add(unzigzag(differs))));
            }
            runs.extend(run(common, &numbers));
            last = numbers;
        }
        runs
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// When the last was made last, in seconds since the epoch.
    pub fn last_s(&self) -> i64 {
        self.to_s.into()
    }

    /// Whether the first held at this time, or was the last before it.
    pub fn began_by(&self, second: i64) -> bool {
        self.count > 0 && i64::from(self.from_s) <= second
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.bytes.capacity()
            + self.last.capacity() * size_of::<i64>()
            + self.common.capacity() * size_of::<Common>()
            + self.common_bytes
    }
}

/// Small numbers of either sign as small ones without.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Seven bits a byte, the low ones first; the highest bit says that it goes on.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << (7 * place);
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::autoscaling::decision::{
        Mode,
        policy::{Target, Tolerances},
        rate::Rate,
    };

    fn frame(metrics: usize) -> Arc<Frame> {
        let target = Some(Target::Value(1000));
        let known = |place| super::super::Known { name: format!("m{place}"), target, activation: 0, per_pod: false };
        Arc::new(Frame {
            metrics: (0..metrics).map(known).collect(),
            tolerances: Tolerances { up: 0.1, down: 0.1 },
            min: 1,
            max: 5,
            schedules: Vec::new(),
            mode: Mode::Auto,
        })
    }

    prop_compose! {
        fn point()(value: i64, proposed: i32, absent: bool, basis in prop::option::of(prop::sample::select(vec![
            Basis::Ratio, Basis::WithinTolerance, Basis::DirectionWouldTurn, Basis::NotActivated, Basis::Fallback,
        ]))) -> Point {
            Point { value, proposed, basis, absent }
        }
    }

    prop_compose! {
        fn text()(text in prop::option::of("[ab]")) -> Option<Arc<String>> { text.map(Arc::new) }
    }

    prop_compose! {
        fn any_run()(
            points in prop::collection::vec(point(), 0..4),
            (failure, held) in (text(), text()),
            trouble in text(),
            rate in prop::option::of(any::<bool>()),
            from_s: u32,
            lasted in 0..1000_u32,
            counts: [i32; 6],
            cooling_down_s: u32,
            path in prop::sample::select(vec![Path::Paused, Path::NoData, Path::Metrics]),
            limit in prop::sample::select(vec![LimitReason::TooManyReplicas, LimitReason::DesiredWithinRange]),
        ) -> Run {
            let [current, status, desired, proposed, stabilized, limited] = counts;
            let rate = rate.map(|double| if double { Rate::Double } else { Rate::Disabled });
            let chain = rate.map(|rate| Arc::new(Chain { pods: Box::default(), window: None, rate: Some(rate) }));
            Run {
                frame: frame(points.len()), points: points.into(), failure, held,
                trouble: trouble.map(|why| Arc::new(Trouble::Blocked(why.to_string()))), chain,
                from_s, to_s: from_s.saturating_add(lasted), current, status, desired, proposed, stabilized, limited,
                cooling_down_s, path, limit,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_in_comes_out_again(runs in prop::collection::vec(any_run(), 0..40)) {
            let mut packed = Packed::default();
            for run in &runs {
                packed.push(run);
            }
            prop_assert_eq!(&packed.runs(), &runs);
            packed.seal();
            prop_assert_eq!((&packed.runs(), packed.count()), (&runs, runs.len()));
        }

        #[test]
        fn every_number_is_read_as_it_was_written(number: i64) {
            let mut bytes = Vec::new();
            write(&mut bytes, zigzag(number));
            let mut rest = &*bytes;
            prop_assert_eq!(read(&mut rest).map(unzigzag), Some(number));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_decision_whose_metric_moved_takes_little_more_than_a_byte_a_number() {
        let point = |value| Point { value, proposed: 3, basis: Some(Basis::Ratio), absent: false };
        let run = |second: u32| Run {
            frame: frame(1),
            points: Box::new([point(25_000 + i64::from(second) % 7 * 100)]),
            failure: None,
            held: None,
            trouble: None,
            chain: None,
            from_s: 1_800_000_000 + second,
            to_s: 1_800_000_000 + second,
            current: 3,
            status: 3,
            desired: 3,
            proposed: 3,
            stabilized: 3,
            limited: 3,
            cooling_down_s: 0,
            path: Path::Metrics,
            limit: LimitReason::DesiredWithinRange,
        };
        let mut packed = Packed::default();
        (0..64).for_each(|tick| packed.push(&run(tick * 15)));
        assert_eq!(packed.common.len(), 1);
        assert!(packed.bytes.len() <= 64 * (1 + NUMBERS + 2 + 1) + 8, "{}", packed.bytes.len());
    }
}
