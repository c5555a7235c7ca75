//! Parameters numbered without gaps: a number that nothing uses has no type, and no statement with one can be planned.

use crate::SqlError;
use pg_query::protobuf::Token;

/// A statement with its `$n` numbered 1, 2, … in the order of their numbers, and the old number of each.
pub fn renumbered(sql: &str) -> Result<(String, Vec<usize>), SqlError> {
    let tokens = crate::text::tokens(sql)?;
    let parameters: Vec<(usize, usize, usize)> = tokens
        .iter()
        .filter(|token| token.token == Token::Param as i32)
        .filter_map(|token| {
            let (start, end) = (token.start as usize, token.end as usize);
            Some((start, end, sql.get(start + 1..end)?.parse().ok()?))
        })
        .collect();
    let mut old: Vec<usize> = parameters.iter().map(|(_, _, number)| *number).collect();
    old.sort_unstable();
    old.dedup();
    let mut text = String::with_capacity(sql.len());
    let mut copied = 0;
    for (start, end, number) in parameters {
        let place = old.iter().position(|known| *known == number).unwrap_or_default();
        text.push_str(sql.get(copied..start).unwrap_or_default());
        text.push_str(&format!("${}", place + 1));
        copied = end;
    }
    text.push_str(sql.get(copied..).unwrap_or_default());
    Ok((text, old))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_close_and_numbers_used_twice_stay_one() {
        assert_eq!(
            renumbered("SELECT $4, '$1' WHERE a = $2 OR b = $4"),
            Ok(("SELECT $2, '$1' WHERE a = $1 OR b = $2".to_owned(), vec![2, 4]))
        );
        assert_eq!(renumbered("SELECT 1"), Ok(("SELECT 1".to_owned(), vec![])));
    }
}
