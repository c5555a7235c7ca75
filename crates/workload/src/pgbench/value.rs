//! Values of variables: what expressions yield, and text that came from the server.

use super::EvaluationError;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A double-precision number.
    Double(f64),
    /// A column's text, kept by `\gset`.
    Text(String),
}

impl Value {
    /// As a parameter's text; None for NULL.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Boolean(value) => Some(value.to_string()),
            Value::Integer(value) => Some(value.to_string()),
            Value::Double(value) => Some(double_text(*value)),
            Value::Text(text) => Some(text.clone()),
        }
    }

    /// As an expression sees it: text that reads as a number or a truth value is one.
    pub(crate) fn interpreted(&self) -> Result<Value, EvaluationError> {
        let Value::Text(text) = self else { return Ok(self.clone()) };
        let lower = text.to_ascii_lowercase();
        if let Ok(number) = text.parse() {
            return Ok(Value::Integer(number));
        }
        match lower.as_str() {
            "true" | "t" | "yes" | "y" | "on" => return Ok(Value::Boolean(true)),
            "false" | "f" | "no" | "n" | "off" => return Ok(Value::Boolean(false)),
            "null" => return Ok(Value::Null),
            _ => {}
        }
        match text.parse::<f64>() {
            Ok(number) => Ok(Value::Double(number)),
            Err(_) => Err(EvaluationError::new("a variable holds text that is no number")),
        }
    }

    /// Whether a condition of `\if` or CASE holds: NULL does not, a number unless it is 0.
    pub(crate) fn truth(&self) -> Result<bool, EvaluationError> {
        Ok(match self.interpreted()? {
            Value::Null | Value::Text(_) => false,
            Value::Boolean(value) => value,
            Value::Integer(value) => value != 0,
            Value::Double(value) => value != 0.0,
        })
    }

    pub(crate) fn boolean(&self) -> Result<bool, EvaluationError> {
        match self {
            Value::Boolean(value) => Ok(*value),
            other => Err(other.mismatch("a boolean")),
        }
    }

    /// As an integer; a double is rounded to the nearest, halves to even, as C's `rint` does.
    pub(crate) fn integer(&self) -> Result<i64, EvaluationError> {
        match self {
            Value::Integer(value) => Ok(*value),
            Value::Double(value) => {
                let rounded = value.round_ties_even();
                // 2^63 is a double, and the first that is too large.
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                    Ok(rounded as i64)
                } else {
                    Err(EvaluationError::new("a double is out of an integer's range"))
                }
            }
            other => Err(other.mismatch("an integer")),
        }
    }

    pub(crate) fn double(&self) -> Result<f64, EvaluationError> {
        match self {
            Value::Double(value) => Ok(*value),
            Value::Integer(value) => Ok(*value as f64),
            other => Err(other.mismatch("a number")),
        }
    }

    fn mismatch(&self, wanted: &str) -> EvaluationError {
        let found = match self {
            Value::Null => "NULL",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Double(_) => "a double",
            Value::Text(_) => "text",
        };
        EvaluationError::new(format!("{found} was given where {wanted} is needed"))
    }
}

/// A double as PostgreSQL reads it, shortly also where it is large or small.
fn double_text(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}
