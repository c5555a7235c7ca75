//! Comparisons with the present: `expires < now()`, `created_at > now() - interval '1 day'`.
//!
//! The planner evaluates `now()` when it plans. Offline the best stand-in is the moment the statistics are of:
//! the share of rows that had expired then is about the share that has expired at any time.

use pgassay_model::Timestamp;
use std::time::Duration;

/// Names of the present.
const PRESENT: [&str; 4] =
    ["now()", "current_timestamp", "statement_timestamp()", "clock_timestamp()"];

/// What a column is compared with in an SQL text, where that is the present or an interval away from it: whether
/// the comparison keeps what lies before it, and the moment as `pg_stats` writes it in UTC, `analyzed` taken for
/// the present.
pub(super) fn compared(sql: &str, column: &str, analyzed: Timestamp) -> Option<(bool, String)> {
    let compact: String = sql.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let compact = compact.to_lowercase();
    let column = column.to_lowercase();
    let mut found = Vec::new();
    for (operator, below) in [("<=", true), ("<", true), (">=", false), (">", false)] {
        let compared = format!("{column}{operator}");
        for (at, text) in compact.match_indices(&compared) {
            let rest = compact.get(at + text.len()..).unwrap_or_default();
            found.extend(moment(rest, analyzed).map(|moment| (below, moment)));
        }
    }
    // With two bounds it is not known here which one is asked for.
    match found.as_slice() {
        [_] => found.pop(),
        _ => None,
    }
}

/// The moment that a text begins with.
fn moment(text: &str, analyzed: Timestamp) -> Option<String> {
    let rest = PRESENT.iter().find_map(|present| text.strip_prefix(present))?;
    let moment = match rest.chars().next() {
        Some('-') => analyzed.checked_sub(interval(rest.get(1..)?)?).ok()?,
        Some('+') => analyzed.checked_add(interval(rest.get(1..)?)?).ok()?,
        Some('*' | '/' | ':' | '.') => return None,
        _ => analyzed,
    };
    Some(moment.to_string().replace('T', " ").trim_end_matches('Z').to_owned())
}

/// `interval'7days'`; None for anything but one number and one unit.
fn interval(text: &str) -> Option<Duration> {
    let (inner, _) = text.strip_prefix("interval'")?.split_once('\'')?;
    let digits = inner.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let number: u64 = inner.get(..digits)?.parse().ok()?;
    let seconds = match inner.get(digits..)?.trim_end_matches('s') {
        "second" | "sec" => 1,
        "minute" | "min" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 604_800,
        // As the server counts a month and a year when it needs seconds (manual, "Interval Input").
        "month" | "mon" => 30 * 86_400,
        "year" => 31_557_600,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_the_moment_of_the_statistics() {
        let day = Timestamp::UNIX_EPOCH + Duration::from_secs(86_400);
        let found =
            |condition: &str| compared(&format!("SELECT 1 FROM t WHERE {condition}"), "at", day);
        assert_eq!(found("at < now()"), Some((true, "1970-01-02 00:00:00".into())));
        assert_eq!(
            found("t.at >= CURRENT_TIMESTAMP - INTERVAL '1 hour' AND x"),
            Some((false, "1970-01-01 23:00:00".into()))
        );
        assert_eq!(
            found("at > now() + interval '2 days'"),
            Some((false, "1970-01-04 00:00:00".into()))
        );
        for unknown in [
            "at < now() - $1",
            "at < now()::date",
            "at < $1",
            "at < now() - interval '1 day 2 hours'",
        ] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
        assert_eq!(compared("at < now() - interval '99999999999999 years'", "at", day), None);
    }
}
