//! Evaluates expressions.

use super::expression::{Expression, Function};
use super::math;
use super::value::Value;
use rand::rngs::Xoshiro256PlusPlus;

/// Why an expression has no value: division by zero, a number out of range, an empty range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(String);

impl EvaluationError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        EvaluationError(reason.into())
    }
}

type Result<T> = std::result::Result<T, EvaluationError>;

/// The variables of one client, by their numbers in the script.
#[derive(Debug, Clone)]
pub struct Variables {
    values: Vec<Option<Value>>,
    /// Seed of hashes and permutations that are given none (`:default_seed`).
    default_seed: i64,
}

impl Variables {
    /// None has a value yet.
    pub fn new(default_seed: i64) -> Self {
        Variables { values: Vec::new(), default_seed }
    }

    /// The value of a variable; None where it has none yet.
    pub fn get(&self, variable: usize) -> Option<&Value> {
        self.values.get(variable)?.as_ref()
    }

    /// Gives a variable a value.
    pub fn set(&mut self, variable: usize, value: Value) {
        if self.values.len() <= variable {
            self.values.resize(variable + 1, None);
        }
        if let Some(slot) = self.values.get_mut(variable) {
            *slot = Some(value);
        }
    }

    /// Evaluates an expression.
    pub fn evaluate(
        &self,
        expression: &Expression,
        random: &mut Xoshiro256PlusPlus,
    ) -> Result<Value> {
        match expression {
            Expression::Constant(value) => Ok(value.clone()),
            Expression::Variable(variable) => match self.get(*variable) {
                Some(value) => value.interpreted(),
                None => Err(EvaluationError::new("a variable has no value yet")),
            },
            Expression::And(left, right) => self.logic(left, right, false, random),
            Expression::Or(left, right) => self.logic(left, right, true, random),
            Expression::Is(operand, value) => {
                Ok(Value::Boolean(self.evaluate(operand, random)? == *value))
            }
            Expression::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    if self.evaluate(condition, random)?.truth()? {
                        return self.evaluate(value, random);
                    }
                }
                self.evaluate(otherwise, random)
            }
            Expression::Call(function, arguments) => {
                let values = arguments
                    .iter()
                    .map(|argument| self.evaluate(argument, random))
                    .collect::<Result<Vec<Value>>>()?;
                self.call(*function, &values, random)
            }
        }
    }

    /// Whether a condition holds.
    pub fn holds(&self, condition: &Expression, random: &mut Xoshiro256PlusPlus) -> Result<bool> {
        self.evaluate(condition, random)?.truth()
    }

    /// AND (`decisive` false) and OR (true) of SQL's three-valued logic.
    fn logic(
        &self,
        left: &Expression,
        right: &Expression,
        decisive: bool,
        random: &mut Xoshiro256PlusPlus,
    ) -> Result<Value> {
        let left = self.evaluate(left, random)?;
        if left != Value::Null && left.boolean()? == decisive {
            return Ok(Value::Boolean(decisive));
        }
        let right = self.evaluate(right, random)?;
        if right != Value::Null && right.boolean()? == decisive {
            return Ok(Value::Boolean(decisive));
        }
        Ok(if left == Value::Null || right == Value::Null {
            Value::Null
        } else {
            Value::Boolean(!decisive)
        })
    }

    fn call(
        &self,
        function: Function,
        values: &[Value],
        random: &mut Xoshiro256PlusPlus,
    ) -> Result<Value> {
        // Every function but debug() is NULL of NULL.
        if function != Function::Debug && values.contains(&Value::Null) {
            return Ok(Value::Null);
        }
        let arguments = Arguments(values);
        let seed = |number: usize| match arguments.0.get(number) {
            Some(value) => value.integer(),
            None => Ok(self.default_seed),
        };
        match function {
            Function::Not => Ok(Value::Boolean(!arguments.at(0)?.boolean()?)),
            Function::Debug => arguments.at(0).cloned(),
            Function::Pi => Ok(Value::Double(std::f64::consts::PI)),
            Function::Abs
            | Function::Negate
            | Function::Add
            | Function::Subtract
            | Function::Multiply
            | Function::Divide
            | Function::Greatest
            | Function::Least
            | Function::Equal
            | Function::NotEqual
            | Function::Less
            | Function::LessEqual => arguments.arithmetic(function),
            Function::Double => Ok(Value::Double(arguments.double(0)?)),
            Function::Exp => Ok(Value::Double(arguments.double(0)?.exp())),
            Function::Ln => Ok(Value::Double(arguments.double(0)?.ln())),
            Function::Sqrt => Ok(Value::Double(arguments.double(0)?.sqrt())),
            Function::Power => Ok(Value::Double(arguments.double(0)?.powf(arguments.double(1)?))),
            Function::Int => arguments.integer(0).map(Value::Integer),
            Function::Modulo
            | Function::BitNot
            | Function::BitAnd
            | Function::BitOr
            | Function::BitXor
            | Function::ShiftLeft
            | Function::ShiftRight => arguments.integers(function),
            Function::HashFnv1a => Ok(Value::Integer(math::fnv1a(arguments.integer(0)?, seed(1)?))),
            Function::HashMurmur2 => {
                Ok(Value::Integer(math::murmur2(arguments.integer(0)?, seed(1)?)))
            }
            Function::Permute => {
                math::permute(arguments.integer(0)?, arguments.integer(1)?, seed(2)?)
                    .map(Value::Integer)
            }
            Function::Random
            | Function::RandomExponential
            | Function::RandomGaussian
            | Function::RandomZipfian => {
                let (least, most) = (arguments.integer(0)?, arguments.integer(1)?);
                let drawn = match function {
                    Function::RandomExponential => {
                        math::exponential(random, least, most, arguments.double(2)?)
                    }
                    Function::RandomGaussian => {
                        math::gaussian(random, least, most, arguments.double(2)?)
                    }
                    Function::RandomZipfian => {
                        math::zipfian(random, least, most, arguments.double(2)?)
                    }
                    _ => math::uniform(random, least, most),
                };
                drawn.map(Value::Integer)
            }
        }
    }
}

/// Arguments of a call, none of them NULL.
struct Arguments<'a>(&'a [Value]);

impl Arguments<'_> {
    fn at(&self, number: usize) -> Result<&Value> {
        // The parser has counted them.
        self.0.get(number).ok_or_else(|| EvaluationError::new("an argument is missing"))
    }

    fn integer(&self, number: usize) -> Result<i64> {
        self.at(number)?.integer()
    }

    fn double(&self, number: usize) -> Result<f64> {
        self.at(number)?.double()
    }

    /// What is done in doubles where one of the arguments is a double, and in integers otherwise.
    fn arithmetic(&self, function: Function) -> Result<Value> {
        if self.0.iter().any(|value| matches!(value, Value::Double(_))) {
            self.doubles(function)
        } else {
            self.integers(function)
        }
    }

    fn doubles(&self, function: Function) -> Result<Value> {
        let first = self.double(0)?;
        let rest = || self.0.iter().skip(1).map(Value::double);
        let second = || self.double(1);
        Ok(match function {
            Function::Abs => Value::Double(first.abs()),
            Function::Negate => Value::Double(-first),
            Function::Add => Value::Double(first + second()?),
            Function::Subtract => Value::Double(first - second()?),
            Function::Multiply => Value::Double(first * second()?),
            Function::Divide => Value::Double(first / second()?),
            Function::Greatest => {
                Value::Double(rest().try_fold(first, |greatest, next| Ok(next?.max(greatest)))?)
            }
            Function::Least => {
                Value::Double(rest().try_fold(first, |least, next| Ok(next?.min(least)))?)
            }
            Function::Equal => Value::Boolean(first == second()?),
            Function::NotEqual => Value::Boolean(first != second()?),
            Function::Less => Value::Boolean(first < second()?),
            Function::LessEqual => Value::Boolean(first <= second()?),
            _ => return Err(EvaluationError::new("an integer is needed")),
        })
    }

    fn integers(&self, function: Function) -> Result<Value> {
        let first = self.integer(0)?;
        let rest = || self.0.iter().skip(1).map(Value::integer);
        let second = || self.integer(1);
        let known = |number: Option<i64>| {
            number
                .map(Value::Integer)
                .ok_or_else(|| EvaluationError::new("an integer is out of a 64-bit one's range"))
        };
        let divisor = || match second()? {
            0 => Err(EvaluationError::new("division by zero")),
            divisor => Ok(divisor),
        };
        // Shifts by more than the width leave nothing, as on every machine that a script was made for.
        let shift = || Ok::<_, EvaluationError>(u32::try_from(second()?).unwrap_or(u32::MAX));
        match function {
            Function::Abs => known(first.checked_abs()),
            Function::Negate => known(first.checked_neg()),
            Function::Add => known(first.checked_add(second()?)),
            Function::Subtract => known(first.checked_sub(second()?)),
            Function::Multiply => known(first.checked_mul(second()?)),
            Function::Divide => known(first.checked_div(divisor()?)),
            Function::Modulo => Ok(Value::Integer(first.wrapping_rem(divisor()?))),
            Function::BitNot => Ok(Value::Integer(!first)),
            Function::BitAnd => Ok(Value::Integer(first & second()?)),
            Function::BitOr => Ok(Value::Integer(first | second()?)),
            Function::BitXor => Ok(Value::Integer(first ^ second()?)),
            Function::ShiftLeft => Ok(Value::Integer(first.checked_shl(shift()?).unwrap_or(0))),
            Function::ShiftRight => {
                Ok(Value::Integer(first.checked_shr(shift()?).unwrap_or(first >> 63)))
            }
            Function::Greatest => {
                rest().try_fold(first, |greatest, next| Ok(next?.max(greatest))).map(Value::Integer)
            }
            Function::Least => {
                rest().try_fold(first, |least, next| Ok(next?.min(least))).map(Value::Integer)
            }
            Function::Equal => Ok(Value::Boolean(first == second()?)),
            Function::NotEqual => Ok(Value::Boolean(first != second()?)),
            Function::Less => Ok(Value::Boolean(first < second()?)),
            Function::LessEqual => Ok(Value::Boolean(first <= second()?)),
            _ => Err(EvaluationError::new("a double is needed")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn value(text: &str) -> std::result::Result<Value, String> {
        let expression = Expression::parse(text, &mut |_| 0)?;
        let mut variables = Variables::new(7);
        variables.set(0, Value::Integer(5));
        variables
            .evaluate(&expression, &mut Xoshiro256PlusPlus::seed_from_u64(1))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn expressions_have_the_values_of_pgbench_s_manual() {
        use Value::{Boolean, Double, Integer, Null};
        for (text, expected) in [
            ("1 + 2 * 3 - 4 / 2", Integer(5)),
            ("2 * (3 + 4)", Integer(14)),
            ("-7 % 3", Integer(-1)),
            ("7 / -2", Integer(-3)),
            ("5 / 2.0", Double(2.5)),
            ("-9223372036854775808", Integer(i64::MIN)),
            ("- -3", Integer(3)),
            ("1 | 2", Integer(3)),
            ("1 | 3", Integer(3)),
            ("7 # 5", Integer(2)),
            ("~ 7 & 12", Integer(8)),
            ("1 << 2 + 1", Integer(8)),
            ("8 >> 2", Integer(2)),
            ("5 or 4 > 3", Null),
            ("TRUE AND FALSE OR NOT FALSE", Boolean(true)),
            ("NULL AND FALSE", Boolean(false)),
            ("NULL OR FALSE", Null),
            ("1 + NULL", Null),
            ("NULL = NULL", Null),
            ("NULL IS NULL AND NOT 1 ISNULL AND 1 NOTNULL", Boolean(true)),
            ("1 + 1 IS NOT NULL", Boolean(true)),
            ("(1 > 2) IS FALSE", Boolean(true)),
            ("3 <> 3.5 and 3 != 4 and 3 <= 3 and 4 >= 3", Boolean(true)),
            ("CASE WHEN :x < 3 THEN 1 WHEN :x < 6 THEN 2 ELSE 3 END", Integer(2)),
            ("CASE WHEN NULL THEN 1 END", Null),
            ("abs(-17)", Integer(17)),
            ("double(5432)", Double(5432.0)),
            ("exp(0.0)", Double(1.0)),
            ("greatest(5, 4, 3.5, 2)", Double(5.0)),
            ("least(5, 4, 3, 2)", Integer(2)),
            ("int(5.4 + 3.8)", Integer(9)),
            ("ln(1)", Double(0.0)),
            ("mod(54, 32)", Integer(22)),
            ("pi()", Double(std::f64::consts::PI)),
            ("pow(2.0, 10)", Double(1024.0)),
            ("sqrt(2.0 * 2)", Double(2.0)),
            ("random(3, 3)", Integer(3)),
            ("hash(10, 5432) = hash_murmur2(10, 5432)", Boolean(true)),
            ("hash_fnv1a(10) = hash_fnv1a(10, 7)", Boolean(true)),
            ("permute(0, 1)", Integer(0)),
            ("1 + \\\n 2", Integer(3)),
            (".5 + 1e1", Double(10.5)),
        ] {
            if text == "5 or 4 > 3" {
                assert!(value(text).is_err(), "{text}");
            } else {
                assert_eq!(value(text), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn what_has_no_value_says_why() {
        for (text, reason) in [
            ("1 / 0", "division by zero"),
            ("1 % 0", "division by zero"),
            ("9223372036854775807 + 1", "out of a 64-bit"),
            ("-9223372036854775808 / -1", "out of a 64-bit"),
            ("int(1e300)", "out of an integer's range"),
            ("random(2, 1)", "lower bound"),
            ("random_gaussian(1, 10, 1.9)", "2.0 or more"),
            ("random_exponential(1, 10, 0)", "above 0"),
            ("random_zipfian(1, 10, 1)", "1.001"),
            ("TRUE + 1", "a boolean was given"),
            ("1 AND TRUE", "an integer was given"),
            ("1 < 2 < 3", "chained"),
            ("9223372036854775808", "range"),
            ("nothing(1)", "no function nothing"),
            ("mod(1)", "does not take 1"),
            ("1 +", "ends too early"),
            ("(1", "\")\" is missing"),
            ("1 2", "2 was not expected"),
            ("1 $ 2", "unexpected \"$\""),
            ("", "ends too early"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(value(&"(".repeat(10_000)).unwrap_err().contains("levels"));
        assert!(value(&"1+".repeat(10_000)).unwrap_err().contains("levels"));
    }

    proptest! {
        #[test]
        fn no_text_makes_reader_or_evaluation_panic(
            text in "([-+*/%<>=|&#~(),: .]|[0-9]{1,19}|random\\(|hash\\(|case when |then |end|not |is |null|:x|[a-z]){0,24}",
        ) {
            let _ = value(&text);
        }

        #[test]
        fn sums_and_products_are_those_of_integers(a in -1000i64..1000, b in -1000i64..1000, c in 1i64..50) {
            prop_assert_eq!(value(&format!("{a} + {b} * {c}")), Ok(Value::Integer(a + b * c)));
            prop_assert_eq!(value(&format!("({a} - {b}) / {c}")), Ok(Value::Integer((a - b) / c)));
        }
    }
}
