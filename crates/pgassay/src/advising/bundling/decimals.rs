//! Decimal numbers as whole ones, for disguises.

/// A number: its digits without the point, and how many of them stand after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// Whether it is below nought.
    pub negative: bool,
    /// Its digits; no noughts at the end after the point.
    pub digits: u64,
    /// How many stand after the point.
    pub scale: u32,
}

impl Decimal {
    /// Reads `-12.340`; None for exponents, NaN, infinity and more than 18 digits.
    pub fn read(text: &str) -> Option<Decimal> {
        let text = text.trim();
        let (negative, plain) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits: u64 = digits.parse().ok().filter(|digits| *digits < 10_u64.pow(18))?;
        Some(Decimal {
            negative: negative && digits > 0,
            digits,
            scale: u32::try_from(fraction.len()).ok()?,
        })
    }

    /// The same with so many digits after the point; None where these are too few, or too many in all.
    pub fn at_scale(self, scale: u32) -> Option<u64> {
        let more = 10_u64.checked_pow(scale.checked_sub(self.scale)?)?;
        self.digits.checked_mul(more).filter(|digits| *digits < 10_u64.pow(18))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if self.scale == 0 {
            return write!(f, "{sign}{}", self.digits);
        }
        let all = format!("{:0>width$}", self.digits, width = self.scale as usize + 1);
        let (whole, fraction) = all.split_at(all.len() - self.scale as usize);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn numbers_are_read_by_value_and_written_as_postgresql_does() {
        for (text, written) in [
            ("12.340", "12.34"),
            ("-0.05", "-0.05"),
            ("7", "7"),
            ("100", "100"),
            ("-0.00", "0"),
            (".5", "0.5"),
        ] {
            assert_eq!(Decimal::read(text).unwrap().to_string(), written);
        }
        for odd in ["NaN", "1e5", "", "-", "1.2.3", "12345678901234567890"] {
            assert_eq!(Decimal::read(odd), None, "{odd}");
        }
        assert_eq!(Decimal::read("1.5").unwrap().at_scale(3), Some(1500));
        assert_eq!(Decimal::read("1.2345").unwrap().at_scale(3), None);
    }
}
