//! Dates and times as numbers, for disguises: days and microseconds since 2000-01-01, of the years 1 to 9999.

use jiff::civil::{Date, DateTime, date};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// Days from 2000-01-01 to the end of the year 9999.
pub const DAYS_AFTER: u64 = 2_921_940;
/// Days from 0001-01-01 to 2000-01-01.
pub const DAYS_BEFORE: u64 = 730_119;
/// Microseconds of a day.
pub const DAY: u64 = 86_400_000_000;

const EPOCH: Date = date(2000, 1, 1);

/// What PostgreSQL takes for the ends of time.
pub fn is_infinite(value: &str) -> bool {
    matches!(value, "infinity" | "-infinity")
}

/// The days since 2000-01-01 of `YYYY-MM-DD`.
pub fn days(value: &str) -> Option<i64> {
    let date: Date = value.trim().parse().ok()?;
    Some(i64::from(EPOCH.until(date).ok()?.get_days()))
}

/// The date of a number of days.
pub fn date_of(days: i64) -> Option<String> {
    Some(EPOCH.checked_add(days.days()).ok()?.to_string())
}

/// The microseconds since 2000-01-01 of a date and time of day; None: it has an offset.
pub fn local(value: &str) -> Option<i64> {
    micros(value.trim().parse().ok()?)
}

/// The same for a moment; one without an offset is of UTC where `utc`, else it is not known.
pub fn moment(value: &str, utc: bool) -> Option<i64> {
    let value = value.trim();
    match value.parse::<Timestamp>() {
        Ok(moment) => micros(TimeZone::UTC.to_datetime(moment)),
        Err(_) if utc => local(value),
        Err(_) => None,
    }
}

fn micros(at: DateTime) -> Option<i64> {
    let days = i64::from(EPOCH.until(at.date()).ok()?.get_days());
    let time = at.time();
    let seconds =
        i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let micros = seconds * 1_000_000 + i64::from(time.subsec_nanosecond()) / 1000;
    (days * DAY as i64).checked_add(micros)
}

/// The date and time of day of a number of microseconds.
pub fn local_of(micros: i64) -> Option<String> {
    let day = date_of(micros.div_euclid(DAY as i64))?;
    let within = micros.rem_euclid(DAY as i64);
    let (seconds, fraction) = (within / 1_000_000, within % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match fraction {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    Some(format!("{day} {hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// The first day of a day's year and the first of the next.
pub fn year_of(days: i64) -> Option<(i64, i64)> {
    let year = EPOCH.checked_add(days.days()).ok()?.year();
    let first = |year: i16| -> Option<i64> {
        let day = Date::new(year, 1, 1).ok()?;
        Some(i64::from(EPOCH.until(day).ok()?.get_days()))
    };
    let next = if year == 9999 { DAYS_AFTER as i64 } else { first(year + 1)? };
    Some((first(year)?, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn texts_of_dates_and_times_are_read_and_written_as_postgresql_has_them() {
        for day in ["1987-06-05", "2000-01-01", "0001-01-01", "9999-12-31"] {
            assert_eq!(date_of(days(day).unwrap()).as_deref(), Some(day));
        }
        for at in
            ["1999-12-31 23:59:59.999999", "2024-02-29 00:00:00", "2024-02-29 01:02:03.500000"]
        {
            assert_eq!(local_of(local(at).unwrap()).as_deref(), Some(at));
        }
        assert_eq!(moment("2024-03-01 01:00:00+01", false), local("2024-03-01 00:00:00"));
        assert_eq!(moment("2024-03-01T00:00:00Z", false), local("2024-03-01"));
        assert_eq!(
            (moment("2024-03-01", false), moment("2024-03-01", true)),
            (None, local("2024-03-01"))
        );
        assert_eq!(days("9999-12-31").unwrap() + 1, DAYS_AFTER as i64);
        assert_eq!(days("0001-01-01").unwrap(), -(DAYS_BEFORE as i64));
        assert_eq!(
            year_of(days("2024-07-01").unwrap()),
            Some((days("2024-01-01").unwrap(), days("2025-01-01").unwrap()))
        );
        assert_eq!((days("June 5"), local("now")), (None, None));
    }
}
