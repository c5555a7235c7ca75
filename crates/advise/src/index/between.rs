//! The bounds of `column BETWEEN a AND b`, which a shape does not tell: they are read from the statement's text.

use super::selectivity::unquoted;
use pgassay_model::workload::WorkloadStatement;

/// The least and the greatest value for each parameter set, or once where they are constants; empty where the
/// statement does not say.
pub(super) fn bounds(statement: &WorkloadStatement, column: &str) -> Vec<(String, String)> {
    let Some((low, high)) = texts(&statement.sql, column) else { return Vec::new() };
    if !low.starts_with('$') && !high.starts_with('$') {
        return literal(low).zip(literal(high)).into_iter().collect();
    }
    let of_set = |text: &str, set: &[Option<String>]| match text.strip_prefix('$') {
        Some(number) => {
            let digits = number.trim_end_matches(|c: char| !c.is_ascii_digit());
            set.get(digits.parse::<usize>().ok()?.checked_sub(1)?)?.clone()
        }
        None => literal(text),
    };
    statement
        .parameters
        .iter()
        .filter_map(|set| Some((of_set(low, set)?, of_set(high, set)?)))
        .collect()
}

/// Both bounds as SQL.
fn texts<'s>(sql: &'s str, column: &str) -> Option<(&'s str, &'s str)> {
    let lower = sql.to_ascii_lowercase();
    lower.match_indices("between").find_map(|(at, word)| {
        let before = sql.get(..at)?.trim_end();
        let name = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '.')).next()?;
        if !name.trim_matches('"').eq_ignore_ascii_case(column) {
            return None;
        }
        let rest = sql.get(at + word.len()..)?.trim_start();
        let (low, rest) = bound(rest)?;
        let rest = rest.trim_start();
        let and = rest.get(..3).filter(|and| and.eq_ignore_ascii_case("and"))?;
        let (high, _) = bound(rest.get(and.len()..)?.trim_start())?;
        Some((low, high))
    })
}

/// A constant or parameter that a text begins with, a word for its type before it included, and the rest.
fn bound(text: &str) -> Option<(&str, &str)> {
    let mut end = 0;
    if let Some(quote) = text.find('\'')
        && text.get(..quote)?.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')
        && text.get(..quote)?.split_whitespace().count() <= 1
    {
        end = quote + 1 + text.get(quote + 1..)?.find('\'')? + 1;
    }
    let tail = text.get(end..)?;
    let more =
        tail.find(|c: char| c.is_whitespace() || matches!(c, ')' | ';')).unwrap_or(tail.len());
    let (bound, rest) = text.split_at_checked(end + more)?;
    (!bound.is_empty()).then_some((bound, rest))
}

/// The value of a constant; None for anything else.
fn literal(text: &str) -> Option<String> {
    match text.find('\'') {
        Some(quote) => Some(unquoted(text.get(quote..)?)),
        None => {
            let number = text.split("::").next()?;
            number.parse::<f64>().is_ok().then(|| number.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(condition: &str, parameters: &[&[&str]]) -> Vec<(String, String)> {
        let statement = WorkloadStatement {
            sql: format!("SELECT 1 FROM t WHERE {condition}"),
            parameters: parameters
                .iter()
                .map(|set| set.iter().map(|value| Some((*value).to_owned())).collect())
                .collect(),
            ..WorkloadStatement::default()
        };
        bounds(&statement, "at")
    }

    #[test]
    fn bounds_are_constants_with_or_without_a_type_and_parameters() {
        let pair = |low: &str, high: &str| (low.to_owned(), high.to_owned());
        assert_eq!(of("a = 1 AND t.at BETWEEN 5 AND 7", &[]), [pair("5", "7")]);
        assert_eq!(of("(\"at\" between '5' and '7'::text)", &[]), [pair("5", "7")]);
        assert_eq!(
            of("at BETWEEN date '2024-01-01' AND timestamp '2024-02-01 10:00'", &[]),
            [pair("2024-01-01", "2024-02-01 10:00")]
        );
        assert_eq!(
            of("at BETWEEN $2 AND $1::int", &[&["7", "5"], &["9", "8"]]),
            [pair("5", "7"), pair("8", "9")]
        );
        assert_eq!(of("b BETWEEN 5 AND 7", &[]), []);
        assert_eq!(of("at BETWEEN now() AND now()", &[]), []);
    }
}
