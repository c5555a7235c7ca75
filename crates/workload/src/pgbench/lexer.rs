//! Tokens of expressions.

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Integer(u64),
    Double(f64),
    /// `:name`.
    Variable(String),
    /// A keyword or a function's name, in lower case.
    Word(String),
    /// An operator, a parenthesis or a comma.
    Symbol(&'static str),
}

/// Symbols, longer ones first.
const SYMBOLS: [&str; 21] = [
    "<<", ">>", "<=", ">=", "<>", "!=", "+", "-", "*", "/", "%", "<", ">", "=", "|", "#", "&", "~",
    "(", ")", ",",
];

/// The tokens of an expression. A backslash at the end of a line goes on with the next.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(next) =
            rest.strip_prefix('\\').map(|rest| rest.strip_prefix('\r').unwrap_or(rest))
            && let Some(next) = next.strip_prefix('\n')
        {
            rest = next;
            continue;
        }
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let length = if first.is_ascii_digit() || rest_is_fraction(rest) {
            let length = number_length(rest);
            tokens.push(number(rest.get(..length).unwrap_or_default())?);
            length
        } else if first == ':' {
            let length = name_length(rest.get(1..).unwrap_or_default());
            if length == 0 {
                return Err("a variable's name is missing after \":\"".into());
            }
            tokens.push(Token::Variable(rest.get(1..=length).unwrap_or_default().to_owned()));
            length + 1
        } else if first.is_ascii_alphabetic() {
            let length = name_length(rest);
            tokens.push(Token::Word(rest.get(..length).unwrap_or_default().to_ascii_lowercase()));
            length
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        } else {
            return Err(format!("unexpected \"{first}\""));
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Length of the name at the start of a text, in bytes: letters, digits and underscores, no digit first.
pub(crate) fn name_length(text: &str) -> usize {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return 0;
    }
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn rest_is_fraction(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Length of the number at the start of a text.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits =
        |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

fn number(text: &str) -> Result<Token, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            // One more than the greatest integer: the smallest one's magnitude.
            Ok(number) if number <= 1 << 63 => Ok(Token::Integer(number)),
            _ => Err(format!("{text} is out of a 64-bit integer's range")),
        };
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Token::Double(number)),
        _ => Err(format!("{text} is no double-precision number")),
    }
}
