//! Step zero: schedules that change the bounds.
//!
//! A schedule is reckoned on the calendar and clock of its time zone, not in elapsed time: it holds while its
//! last start is later than its last end. So there is nothing to miss while nobody looks. A start in the hour
//! that daylight saving skips counts when the hour is over; one in the hour that it repeats counts the first time.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Serialize;

use super::{cron::Cron, policy::Bounds};

/// When other bounds hold, and which.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// What the user calls it.
    pub name: String,
    /// Whose clock counts.
    #[serde(skip)]
    pub zone: TimeZone,
    /// When it begins.
    pub start: Cron,
    /// When it ends.
    pub end: Cron,
    /// The minimum while it holds, where it sets one.
    pub min: Option<i32>,
    /// The maximum while it holds, where it sets one.
    pub max: Option<i32>,
}

impl Schedule {
    /// Whether it holds. A start and an end at the same minute are an end.
    pub fn holds(&self, now: Timestamp) -> bool {
        let now = calendar(now, &self.zone);
        match (self.start.last(now), self.end.last(now)) {
            (Some(start), Some(end)) => start > end,
            (start, None) => start.is_some(),
            (None, Some(_)) => false,
        }
    }
}

/// The bounds that hold now, and the schedules that made them: of several, the later in the list has the last word.
pub fn bounds(bounds: Bounds, schedules: &[Schedule], now: Timestamp) -> (Bounds, Vec<String>) {
    let (mut min, mut max) = (bounds.min(), bounds.max());
    let mut names = Vec::new();
    for schedule in schedules.iter().filter(|schedule| schedule.holds(now)) {
        (min, max) = (schedule.min.unwrap_or(min), schedule.max.unwrap_or(max));
        names.push(schedule.name.clone());
    }
    if names.is_empty() { (bounds, names) } else { (Bounds::new(min, max), names) }
}

/// What the calendar and the clock on the wall show. While an hour is repeated they stay at its end: what was
/// due in it has been.
fn calendar(now: Timestamp, zone: &TimeZone) -> DateTime {
    let shown = zone.to_datetime(now);
    // The change that came last, one at this very moment included.
    let after = now.saturating_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(now);
    let back = zone.preceding(after).next().filter(|change| {
        let before = change.timestamp().saturating_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
        zone.to_datetime(before) >= shown
    });
    match back {
        Some(change) => {
            let before = change.timestamp().saturating_sub(jiff::SignedDuration::from_nanos(1));
            before.map_or(shown, |before| zone.to_datetime(before))
        }
        None => shown,
    }
}
