//! Shares, rates and lists as they stand in reasons and evidence.

/// A share (0–1) as a percentage: `1.6 %`, `84 %`; neither nothing nor everything by rounding.
pub(crate) fn share(share: f64) -> String {
    let value = share * 100.0;
    match value {
        _ if value > 0.0 && value < 0.05 => "< 0.1 %".to_owned(),
        _ if (99.5..100.0).contains(&value) => "99.9 %".to_owned(),
        _ if value.abs() < 9.95 && value != 0.0 => format!("{value:.1} %"),
        _ => format!("{value:.0} %"),
    }
}

/// A count with its noun: `1 server`, `2 servers`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// The first few of a list, and how many more there are.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 5;
    let mut text =
        names.iter().take(SHOWN).map(|name| name.as_ref()).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(share(0.016), "1.6 %");
        assert_eq!(share(0.844), "84 %");
        assert_eq!(share(0.0), "0 %");
        assert_eq!(share(0.0003), "< 0.1 %");
        assert_eq!(share(0.998), "99.9 %");
        assert_eq!(count(1, "server"), "1 server");
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d, e and 1 more");
    }
}
