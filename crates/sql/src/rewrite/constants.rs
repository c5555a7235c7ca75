//! Constants that became parameters, as in every text of pg_stat_statements: what the calls seen had in their places,
//! and what has to hold where none was seen.

use super::scope::Facts;

impl Facts<'_> {
    /// The value of `$n` in every call seen; None where calls differ, it is NULL, or none was seen.
    pub(super) fn always(&self, number: i32) -> Option<&str> {
        let (first, others) = self.calls.split_first()?;
        let value = value(first, number)?.as_deref()?;
        let same = |set: &Vec<Option<String>>| matches!(self::value(set, number), Some(Some(other)) if other == value);
        others.iter().all(same).then_some(value)
    }

    /// What has to hold for `$n` to stand for that constant; None where a call was seen that had another.
    pub(super) fn stands_for(&self, number: i32, constant: &str) -> Option<String> {
        if self.calls.is_empty() {
            return Some(format!("${number} is always {constant}"));
        }
        (self.always(number)? == constant)
            .then(|| format!("${number} is always {constant}, as in {}", self.seen()))
    }

    /// What has to hold for `$n` to be a whole number always; None where a call was seen that had none.
    pub(super) fn whole_number(&self, number: i32) -> Option<String> {
        let whole = |set: &Vec<Option<String>>| match value(set, number) {
            Some(Some(value)) => value.parse::<i64>().is_ok(),
            Some(None) => true,
            None => false,
        };
        let seen = match self.calls {
            [] => String::new(),
            calls if calls.iter().all(whole) => format!(", as in {}", self.seen()),
            _ => return None,
        };
        Some(format!("${number} is always a whole number{seen}"))
    }

    /// What has to hold for two values, one of them a parameter at least, never to be equal; None where a call was
    /// seen in which they were.
    pub(super) fn never_equal(&self, a: &Operand, b: &Operand) -> Option<String> {
        let of = |set: &Vec<Option<String>>, operand: &Operand| match operand {
            Operand::Parameter(number) => value(set, *number).cloned(),
            Operand::Constant(text) => Some(Some(text.clone())),
        };
        let apart = |set: &Vec<Option<String>>| match (of(set, a), of(set, b)) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        };
        let seen = match self.calls {
            [] => String::new(),
            calls if calls.iter().all(apart) => format!(", as in {}", self.seen()),
            _ => return None,
        };
        Some(format!("{} and {} are never equal{seen}", a.words(), b.words()))
    }

    fn seen(&self) -> String {
        match self.calls.len() {
            1 => "the one call seen".to_owned(),
            count => format!("all {count} calls seen"),
        }
    }
}

/// A constant, or a parameter in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    /// `$n`.
    Parameter(i32),
    /// Its text, without quotes.
    Constant(String),
}

impl Operand {
    fn words(&self) -> String {
        match self {
            Operand::Parameter(number) => format!("${number}"),
            Operand::Constant(text) => text.clone(),
        }
    }
}

fn value(set: &[Option<String>], number: i32) -> Option<&Option<String>> {
    set.get(usize::try_from(number).ok()?.checked_sub(1)?)
}
