//! Times as the server writes them into its log.

/// Microseconds since 1970, in UTC where the zone is known, else as the clock on the wall shows them.
pub(crate) type Micros = i64;

/// Offsets from UTC, in minutes, of the abbreviations that the server writes for `log_timezone` (tzdata's; of those
/// that several zones share the one that changes with the seasons, since only that matters for differences within a
/// log). Others count as UTC: they do not change.
const ZONES: &[(&[u8], i64)] = &[
    (b"CET", 60),
    (b"CEST", 120),
    (b"EET", 120),
    (b"EEST", 180),
    (b"WET", 0),
    (b"WEST", 60),
    (b"BST", 60),
    (b"MSK", 180),
    (b"EST", -300),
    (b"EDT", -240),
    (b"CST", -360),
    (b"CDT", -300),
    (b"MST", -420),
    (b"MDT", -360),
    (b"PST", -480),
    (b"PDT", -420),
    (b"AKST", -540),
    (b"AKDT", -480),
    (b"HST", -600),
    (b"HDT", -540),
    (b"AST", -240),
    (b"ADT", -180),
    (b"NST", -210),
    (b"NDT", -150),
    (b"AEST", 600),
    (b"AEDT", 660),
    (b"ACST", 570),
    (b"ACDT", 630),
    (b"AWST", 480),
    (b"NZST", 720),
    (b"NZDT", 780),
    (b"IST", 120),
    (b"IDT", 180),
    (b"SAST", 120),
    (b"JST", 540),
    (b"KST", 540),
];

/// `2026-01-31 12:34:56.789 CET` (or `T` between, as syslog writes it) at the beginning of `text`; also how
/// many bytes it takes.
pub(crate) fn timestamp(text: &[u8]) -> Option<(Micros, usize)> {
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b' ' | b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        ..,
    ] = *text
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let days = days(year, two(m1, m2)?, two(d1, d2)?)?;
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    let mut micros = ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000;
    let mut at = 19;
    if text.get(at) == Some(&b'.') {
        at += 1;
        let mut unit = 100_000;
        while let Some(digit) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            at += 1;
        }
    }
    let (length, minutes) = zone(text.get(at..)?);
    Some((micros - minutes * 60_000_000, at + length))
}

/// Length of ` CET`, ` +03`, `+02:00` or `Z`, and minutes ahead of UTC.
fn zone(text: &[u8]) -> (usize, i64) {
    let space = usize::from(text.first() == Some(&b' '));
    let rest = text.get(space..).unwrap_or_default();
    let sign = match rest.first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => {
            let length =
                rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let name = rest.get(..length).unwrap_or_default();
            return match name {
                b"" => (0, 0),
                b"UTC" | b"GMT" | b"Z" => (space + length, 0),
                name => {
                    let known = ZONES.iter().find(|(zone, _)| *zone == name);
                    (space + length, known.map_or(0, |(_, minutes)| *minutes))
                }
            };
        }
    };
    // `+03`, `+0530`, `+05:30`
    let (hours, minutes, length) = match rest.get(1..).unwrap_or_default() {
        [h1, h2, b':', m1, m2, ..] => (two(*h1, *h2), two(*m1, *m2), 6),
        [h1, h2, m1, m2, ..] if m1.is_ascii_digit() => (two(*h1, *h2), two(*m1, *m2), 5),
        [h1, h2, ..] => (two(*h1, *h2), Some(0), 3),
        _ => (None, None, 0),
    };
    match (hours, minutes) {
        (Some(hours), Some(minutes)) => (space + length, sign * (hours * 60 + minutes)),
        // `+03:host`: the colon is of the prefix.
        (Some(hours), None) if length == 6 => (space + 3, sign * hours * 60),
        _ => (0, 0),
    }
}

/// `Jan 31 12:34:56` of RFC 3164, which knows no year: days are counted as in a leap year.
pub(crate) fn without_year(text: &[u8]) -> Option<(Micros, usize)> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let [_, _, _, b' ', d1, d2, b' ', h1, h2, b':', n1, n2, b':', s1, s2, ..] = *text else {
        return None;
    };
    let name = text.get(..3)?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let day = two(if d1 == b' ' { b'0' } else { d1 }, d2)?;
    let days = days(2000, month, day)?;
    Some(((((days * 24 + two(h1, h2)?) * 60 + two(n1, n2)?) * 60 + two(s1, s2)?) * 1_000_000, 15))
}

/// Seconds since 1970 with a fraction (`%n`).
pub(crate) fn epoch(text: &[u8]) -> Option<(Micros, usize)> {
    let end = text.iter().position(|b| !(b.is_ascii_digit() || *b == b'.')).unwrap_or(text.len());
    let number = std::str::from_utf8(text.get(..end)?).ok()?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let fraction: i64 = format!("{:0<6}", fraction.get(..fraction.len().min(6))?).parse().ok()?;
    Some((seconds.checked_mul(1_000_000)?.checked_add(fraction)?, end))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_all_forms_are_read() {
        let expected = 1_769_862_896_789_000;
        for (text, length) in [
            ("2026-01-31 12:34:56.789 UTC [1]", 27),
            ("2026-01-31 13:34:56.789 CET [1]", 27),
            ("2026-01-31 08:34:56.789 -04 [1]", 27),
            ("2026-01-31 15:34:56.789 +03:host", 27),
            ("2026-01-31 18:04:56.789 +0530:host", 29),
            ("2026-01-31T14:34:56.789+02:00 host", 29),
            ("2026-01-31T12:34:56.789Z host", 24),
            // Unknown: as UTC.
            ("2026-01-31 12:34:56.789 XYZT [1]", 28),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some((expected, length)), "{text}");
        }
        assert_eq!(timestamp(b"2026-01-31 12:34:56 UTC:").map(|(_, length)| length), Some(23));
        assert_eq!(epoch(b"1769862896.789 x"), Some((expected, 14)));
        assert_eq!(timestamp(b"2026-13-31 12:34:56"), None);
        assert!(without_year(b"Jan  1 00:00:01 host") < without_year(b"Mar 31 00:00:00 host"));
    }

    #[test]
    fn an_hour_that_comes_twice_keeps_its_order_and_one_that_never_comes_leaves_no_gap() {
        let times = [
            // The last Sunday of October 2026, then of March 2027, in Berlin.
            "2026-10-25 02:59:59 CEST",
            "2026-10-25 02:00:00 CET",
            "2027-03-28 01:59:59 CET",
            "2027-03-28 03:00:00 CEST",
        ]
        .map(|text| timestamp(text.as_bytes()).map(|(micros, _)| micros).unwrap_or_default());
        assert_eq!(times[1] - times[0], 1_000_000);
        assert_eq!(times[3] - times[2], 1_000_000);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), digits in "[0-9.]{0,40}", rest in "[ +-:0-9A-Z]{0,9}") {
            let _ = timestamp(format!("2026-01-31 12:34:56{rest}").as_bytes());
            let _ = (timestamp(&bytes), without_year(&bytes), epoch(&bytes), epoch(digits.as_bytes()));
        }
    }
}
