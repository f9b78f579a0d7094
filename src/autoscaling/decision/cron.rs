//! Five fields that say when: minute, hour, day of the month, month, day of the week, as in crontab(5).

use std::{fmt, str::FromStr};

use jiff::{
    ToSpan,
    civil::{Date, DateTime},
};
use serde::{Serialize, Serializer};

/// A point in time that comes again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days are restricted: then either is enough, as in crontab(5).
    either_day: bool,
}

/// Why a text is no cron expression, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Not five fields.
    Fields(usize),
    /// A field that cannot be read.
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// The least number.
        least: u8,
        /// The greatest number.
        most: u8,
    },
    /// A day that no month has.
    Never,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields(count) => {
                write!(f, "it has {count} fields; write five: minute hour day month weekday, such as `0 8 * * 1-5`")
            }
            Self::Field { field, text, least, most } => {
                write!(f, "`{text}` is no {field}: write {least} to {most}, a list 1,2, a range 1-5, or a step */5")
            }
            Self::Never => f.write_str("it never comes: no such day is in these months; write one that they have"),
        }
    }
}

impl std::error::Error for Invalid {}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The longest time between two leap days, 1896 to 1904 and 2096 to 2104.
const LONGEST_DAYS: i32 = 8 * 366;

impl FromStr for Cron {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(Invalid::Fields(fields.len())) };
        let weekdays = field("weekday", weekday, 0, 7, &WEEKDAYS)?;
        let cron = Self {
            minutes: field("minute", minute, 0, 59, &[])?,
            hours: field("hour", hour, 0, 23, &[])?,
            days: field("day of the month", day, 1, 31, &[])?,
            months: field("month", month, 1, 12, &MONTHS)?,
            // 7 is Sunday too.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            text: fields.join(" "),
        };
        // Every date of the calendar is within eight years before this one.
        match cron.last(DateTime::constant(2104, 12, 31, 23, 59, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(Invalid::Never),
        }
    }
}

impl Cron {
    /// The last time that it came, `now` included; none within eight years is none.
    pub fn last(&self, now: DateTime) -> Option<DateTime> {
        let today = now.date();
        for back in 0..=LONGEST_DAYS {
            let date = today.checked_sub(back.days()).ok()?;
            if !self.is_day(date) {
                continue;
            }
            let (hour, minute) = if back == 0 { (now.hour(), now.minute()) } else { (23, 59) };
            if let Some((hour, minute)) = self.last_of_day(hour, minute) {
                return Some(date.at(hour, minute, 0, 0));
            }
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| u32::try_from(number).is_ok_and(|number| set >> number & 1 == 1);
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    fn last_of_day(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let minutes_of = |hour_is_last: bool| last_at_most(self.minutes, if hour_is_last { minute } else { 59 });
        if self.hours >> hour & 1 == 1
            && let Some(minute) = minutes_of(true)
        {
            return Some((hour, minute));
        }
        Some((last_at_most(self.hours, hour - 1)?, minutes_of(false)?))
    }
}

/// The greatest number of a set that is not greater than `most`.
fn last_at_most(set: u64, most: i8) -> Option<i8> {
    (0..=most).rev().find(|number| set >> number & 1 == 1)
}

fn field(name: &'static str, text: &str, least: u8, most: u8, names: &[&str]) -> Result<u64, Invalid> {
    let invalid =
        || Invalid::Field { field: name, text: text.to_owned(), least, most: if most == 7 { 6 } else { most } };
    let number = |text: &str| {
        let named = names.iter().position(|known| text.eq_ignore_ascii_case(known));
        let number = named.and_then(|place| u8::try_from(place).ok()).map(|place| place + least);
        let digits = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number.or_else(digits).filter(|number| (least..=most).contains(number)).ok_or_else(invalid)
    };
    let mut set = 0_u64;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0).ok_or_else(invalid)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, if most == 7 { 6 } else { most }),
            Some((from, to)) => (number(from)?, number(to)?),
            // `5/10` is from 5 on, as most programs read it.
            None if step > 1 => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(invalid());
        }
        (from..=to).step_by(step.into()).for_each(|number| set |= 1 << number);
    }
    Ok(set)
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    // 2026-11-25 is a Wednesday.
    #[case::today("0 8 * * *", "2026-11-25T09:30", "2026-11-25T08:00")]
    #[case::this_very_minute("30 9 * * *", "2026-11-25T09:30", "2026-11-25T09:30")]
    #[case::yesterday("31 9 * * *", "2026-11-25T09:30", "2026-11-24T09:31")]
    #[case::on_friday("0 18 * * 5", "2026-11-25T09:30", "2026-11-20T18:00")]
    #[case::by_name("0 18 * nov fri", "2026-11-25T09:30", "2026-11-20T18:00")]
    #[case::sunday_is_seven_too("0 0 * * 7", "2026-11-25T09:30", "2026-11-22T00:00")]
    #[case::the_earlier_hour("45 9,8 * * *", "2026-11-25T09:30", "2026-11-25T08:45")]
    #[case::steps("*/20 * * * *", "2026-11-25T09:30", "2026-11-25T09:20")]
    #[case::steps_from("5/10 * * * *", "2026-11-25T09:30", "2026-11-25T09:25")]
    #[case::either_day("0 0 1 * 1", "2026-11-25T09:30", "2026-11-23T00:00")]
    #[case::both_if_one_is_open("0 0 1 * *", "2026-11-25T09:30", "2026-11-01T00:00")]
    #[case::a_leap_day("0 0 29 2 *", "2026-11-25T09:30", "2024-02-29T00:00")]
    #[case::the_longest_wait("0 0 29 2 *", "2104-02-28T09:30", "2096-02-29T00:00")]
    fn the_last_time(#[case] cron: &str, #[case] now: DateTime, #[case] expected: DateTime) {
        assert_eq!(cron.parse::<Cron>().expect("a cron").last(now), Some(expected));
    }

    #[rstest]
    #[case::empty("", "it has 0 fields; write five: minute hour day month weekday, such as `0 8 * * 1-5`")]
    #[case::a_second(
        "0 0 8 * * 1",
        "it has 6 fields; write five: minute hour day month weekday, such as `0 8 * * 1-5`"
    )]
    #[case::hour_24("0 24 * * *", "`24` is no hour: write 0 to 23, a list 1,2, a range 1-5, or a step */5")]
    #[case::backwards("0 8 * * 5-1", "`5-1` is no weekday: write 0 to 6, a list 1,2, a range 1-5, or a step */5")]
    #[case::no_step("*/0 * * * *", "`*/0` is no minute: write 0 to 59, a list 1,2, a range 1-5, or a step */5")]
    #[case::a_sign("+1 * * * *", "`+1` is no minute: write 0 to 59, a list 1,2, a range 1-5, or a step */5")]
    #[case::never("0 0 30 2 *", "it never comes: no such day is in these months; write one that they have")]
    fn what_is_none_is_told_with_what_to_write(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Cron>().expect_err("it is none").to_string(), expected);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9*/,a-z+ -]{0,30}", year in -9999_i16..=9999) {
            if let Ok(cron) = text.parse::<Cron>() {
                let now = DateTime::constant(year, 1, 1, 0, 0, 0, 0);
                prop_assert!(cron.last(now).is_none_or(|last| last <= now));
            }
        }
    }
}
