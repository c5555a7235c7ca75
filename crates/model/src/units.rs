//! Units: milliseconds, bytes and shares as types, with PostgreSQL's own notation for sizes and durations.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ms(pub f64);

impl Ms {
    /// Milliseconds of a [`Duration`].
    pub fn from_duration(duration: Duration) -> Self {
        Ms(duration.as_secs_f64() * 1e3)
    }
}

impl std::ops::Add for Ms {
    type Output = Ms;
    fn add(self, other: Ms) -> Ms {
        Ms(self.0 + other.0)
    }
}

impl std::iter::Sum for Ms {
    fn sum<I: Iterator<Item = Ms>>(parts: I) -> Ms {
        Ms(parts.map(|part| part.0).sum())
    }
}

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let digits = match ms.abs() {
            a if a >= 100.0 => 0,
            a if a >= 10.0 => 1,
            a if a >= 1.0 => 2,
            _ => 3,
        };
        write!(f, "{ms:.digits$} ms")
    }
}

/// A size in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

impl Bytes {
    /// The value as PostgreSQL and PgBouncer write it without loss: the largest unit that divides it.
    pub fn to_parameter(self) -> String {
        for (unit, factor) in SIZE_UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return format!("{}{unit}", self.0 / factor);
            }
        }
        "0".to_owned()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SIZE_UNITS {
            if self.0 >= factor {
                let value = self.0 as f64 / factor as f64;
                return if value.fract() < 0.05 || factor == 1 {
                    write!(f, "{value:.0} {unit}")
                } else {
                    write!(f, "{value:.1} {unit}")
                };
            }
        }
        f.write_str("0 B")
    }
}

/// Why a size or duration could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {what}, expected for example {example}")]
pub struct UnitError {
    /// The text given.
    pub text: String,
    /// "size" or "duration".
    pub what: &'static str,
    /// Forms that would have been accepted.
    pub example: &'static str,
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then(|| (number, text[end..].trim()))
}

impl FromStr for Bytes {
    type Err = UnitError;

    /// Reads `500MB`, `2GB`, `8kB`, `1TB`, `100B` or a bare number of bytes; powers of 1024, as PostgreSQL.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError { text: text.to_owned(), what: "size", example: "500MB or 2GB" };
        let (number, unit) = split_number(text).ok_or_else(error)?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1u64,
            "k" | "kb" => 1 << 10,
            "m" | "mb" => 1 << 20,
            "g" | "gb" => 1 << 30,
            "t" | "tb" => 1 << 40,
            _ => return Err(error()),
        };
        let bytes = (number * factor as f64).round();
        // The greatest that is counted; as a float it is the first that is not.
        if bytes >= u64::MAX as f64 {
            return Err(UnitError { what: "size below 16777216TB", ..error() });
        }
        Ok(Bytes(bytes as u64))
    }
}

/// Reads `500us`, `500ms`, `30s`, `15min`, `2h`, `7d`, as PostgreSQL writes durations.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error =
        || UnitError { text: text.to_owned(), what: "duration", example: "500ms, 30s or 15min" };
    let (number, unit) = split_number(text).ok_or_else(error)?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| error())
}

/// A relative change in words for people: `−45.2 %`.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = usize::from(value.abs() < 99.95);
    format!("{value:+.digits$} %").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_powers_of_1024_as_in_postgresql() {
        assert_eq!("500MB".parse(), Ok(Bytes(500 << 20)));
        assert_eq!("2GB".parse(), Ok(Bytes(2 << 30)));
        assert_eq!("8kB".parse(), Ok(Bytes(8192)));
        assert!("5 parsecs".parse::<Bytes>().is_err());
        assert!("".parse::<Bytes>().is_err());
        assert_eq!("16777215TB".parse(), Ok(Bytes(16_777_215 << 40)));
        let error = "99999999TB".parse::<Bytes>().map_err(|error| error.to_string());
        let said =
            "\"99999999TB\" is not a size below 16777216TB, expected for example 500MB or 2GB";
        assert_eq!(error, Err(said.to_owned()));
    }

    #[test]
    fn durations_use_postgresql_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("15min"), Ok(Duration::from_secs(900)));
        assert!(parse_duration("10").is_err());
        assert!(parse_duration("1e400s").is_err());
    }

    proptest! {
        #[test]
        fn a_size_survives_the_trip_through_its_parameter_text(bytes in 0u64..(1 << 50)) {
            prop_assert_eq!(Bytes(bytes).to_parameter().parse::<Bytes>(), Ok(Bytes(bytes)));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,40}") {
            let _ = text.parse::<Bytes>();
            let _ = parse_duration(&text);
        }
    }
}
