//! Expressions of `\set` and `\if` (manual, pgbench, "Built-in Operators" and "Built-In Functions").

use super::lexer::{Token, tokens};
use super::value::Value;

/// Levels of an expression at most: they are evaluated on a client's small stack.
const DEEPEST: usize = 100;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A literal.
    Constant(Value),
    /// `:name`, by its number among the script's variables.
    Variable(usize),
    /// AND and OR decide by the first operand where they can.
    And(Box<Expression>, Box<Expression>),
    /// As above.
    Or(Box<Expression>, Box<Expression>),
    /// `IS` a constant.
    Is(Box<Expression>, Value),
    /// `CASE`: conditions with their values, and what holds otherwise.
    Case(Vec<(Expression, Expression)>, Box<Expression>),
    /// A function or an operator.
    Call(Function, Vec<Expression>),
}

/// Functions, and operators that are evaluated as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as pgbench's manual names them")]
pub enum Function {
    Not,
    Negate,
    BitNot,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Abs,
    Debug,
    Double,
    Exp,
    Greatest,
    HashFnv1a,
    HashMurmur2,
    Int,
    Least,
    Ln,
    Permute,
    Pi,
    Power,
    Random,
    RandomExponential,
    RandomGaussian,
    RandomZipfian,
    Sqrt,
}

/// Functions by name, with the least and the most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 21] = [
    ("abs", Function::Abs, 1, 1),
    ("debug", Function::Debug, 1, 1),
    ("double", Function::Double, 1, 1),
    ("exp", Function::Exp, 1, 1),
    ("greatest", Function::Greatest, 1, usize::MAX),
    ("hash", Function::HashMurmur2, 1, 2),
    ("hash_fnv1a", Function::HashFnv1a, 1, 2),
    ("hash_murmur2", Function::HashMurmur2, 1, 2),
    ("int", Function::Int, 1, 1),
    ("least", Function::Least, 1, usize::MAX),
    ("ln", Function::Ln, 1, 1),
    ("mod", Function::Modulo, 2, 2),
    ("permute", Function::Permute, 2, 3),
    ("pi", Function::Pi, 0, 0),
    ("pow", Function::Power, 2, 2),
    ("power", Function::Power, 2, 2),
    ("random", Function::Random, 2, 2),
    ("random_exponential", Function::RandomExponential, 3, 3),
    ("random_gaussian", Function::RandomGaussian, 3, 3),
    ("random_zipfian", Function::RandomZipfian, 3, 3),
    ("sqrt", Function::Sqrt, 1, 1),
];

/// How tightly an operator binds, from OR to unary minus.
type Binding = u8;
const NOT: Binding = 3;
const IS: Binding = 4;
const COMPARISON: Binding = 5;
const BITS: Binding = 6;
const UNARY: Binding = 9;

impl Expression {
    /// Reads an expression; `variable` numbers variables by name.
    pub(crate) fn parse(
        text: &str,
        variable: &mut dyn FnMut(&str) -> usize,
    ) -> Result<Self, String> {
        let mut parser =
            Parser { tokens: tokens(text)?.into_iter().peekable(), variable, depth: 0 };
        let (expression, _) = parser.expression(0)?;
        match parser.tokens.next() {
            None => Ok(expression),
            Some(token) => Err(format!("{} was not expected", words(&token))),
        }
    }
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    variable: &'a mut dyn FnMut(&str) -> usize,
    depth: usize,
}

/// An expression and how many levels it has.
type Parsed = (Expression, usize);

impl Parser<'_> {
    /// An expression of operators that bind at least as tightly as `least`.
    fn expression(&mut self, least: Binding) -> Result<Parsed, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(too_deep());
        }
        let mut left = self.operand()?;
        let mut compared = false;
        while let Some((operator, binding)) = self.operator().filter(|(_, own)| *own >= least) {
            if binding == COMPARISON && std::mem::replace(&mut compared, true) {
                return Err("comparisons can't be chained; use AND".into());
            }
            self.tokens.next();
            left = if binding == IS {
                self.is(&operator, left)?
            } else {
                let right = self.expression(binding + 1)?;
                binary(&operator, left, right)?
            };
            if left.1 > DEEPEST {
                return Err(too_deep());
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    /// The operator that is next.
    fn operator(&mut self) -> Option<(String, Binding)> {
        let name = match self.tokens.peek()? {
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::Word(word) => word.clone(),
            _ => return None,
        };
        let binding = match name.as_str() {
            "or" => 1,
            "and" => 2,
            "is" | "isnull" | "notnull" => IS,
            "<" | ">" | "=" | "<=" | ">=" | "<>" | "!=" => COMPARISON,
            "|" | "#" | "&" | "<<" | ">>" => BITS,
            "+" | "-" => 7,
            "*" | "/" | "%" => 8,
            _ => return None,
        };
        Some((name, binding))
    }

    fn is(&mut self, operator: &str, (left, depth): Parsed) -> Result<Parsed, String> {
        let is = |value| Expression::Is(Box::new(left), value);
        let not = |expression| Expression::Call(Function::Not, vec![expression]);
        let parsed = match operator {
            "isnull" => is(Value::Null),
            "notnull" => not(is(Value::Null)),
            _ => {
                let negated = self.word_is("not");
                let value = match self.tokens.next() {
                    Some(Token::Word(word)) if word == "null" => Value::Null,
                    Some(Token::Word(word)) if word == "true" => Value::Boolean(true),
                    Some(Token::Word(word)) if word == "false" => Value::Boolean(false),
                    _ => return Err("IS needs NULL, TRUE or FALSE, with or without NOT".into()),
                };
                if negated { not(is(value)) } else { is(value) }
            }
        };
        Ok((parsed, depth + 2))
    }

    fn operand(&mut self) -> Result<Parsed, String> {
        let token = self.tokens.next().ok_or("an expression ends too early")?;
        match token {
            Token::Integer(number) => match i64::try_from(number) {
                Ok(number) => Ok(constant(Value::Integer(number))),
                Err(_) => Err(format!("{number} is out of a 64-bit integer's range")),
            },
            Token::Double(number) => Ok(constant(Value::Double(number))),
            Token::Variable(name) => Ok((Expression::Variable((self.variable)(&name)), 1)),
            Token::Symbol("(") => {
                let inner = self.expression(0)?;
                self.symbol(")")?;
                Ok(inner)
            }
            Token::Symbol("-") => {
                // The smallest integer has no positive counterpart.
                if self.tokens.peek() == Some(&Token::Integer(1 << 63)) {
                    self.tokens.next();
                    return Ok(constant(Value::Integer(i64::MIN)));
                }
                self.unary(Function::Negate, UNARY)
            }
            Token::Symbol("+") => self.expression(UNARY),
            Token::Symbol("~") => self.unary(Function::BitNot, BITS + 1),
            Token::Word(word) => self.word(word),
            token => Err(format!("{} was not expected", words(&token))),
        }
    }

    fn unary(&mut self, function: Function, binding: Binding) -> Result<Parsed, String> {
        let (operand, depth) = self.expression(binding)?;
        Ok((Expression::Call(function, vec![operand]), depth + 1))
    }

    fn word(&mut self, word: String) -> Result<Parsed, String> {
        match word.as_str() {
            "null" => return Ok(constant(Value::Null)),
            "true" => return Ok(constant(Value::Boolean(true))),
            "false" => return Ok(constant(Value::Boolean(false))),
            "not" => return self.unary(Function::Not, NOT),
            "case" => return self.case(),
            _ => {}
        }
        let Some((name, function, least, most)) = FUNCTIONS.iter().find(|(name, ..)| *name == word)
        else {
            return Err(format!("there is no function {word}"));
        };
        self.symbol("(")?;
        let mut arguments = Vec::new();
        let mut depth = 0;
        if self.tokens.peek() != Some(&Token::Symbol(")")) {
            loop {
                let (argument, own) = self.expression(0)?;
                arguments.push(argument);
                depth = depth.max(own);
                if self.tokens.next_if_eq(&Token::Symbol(",")).is_none() {
                    break;
                }
            }
        }
        self.symbol(")")?;
        if !(*least..=*most).contains(&arguments.len()) {
            return Err(format!("{name} does not take {} arguments", arguments.len()));
        }
        Ok((Expression::Call(*function, arguments), depth + 1))
    }

    /// After `CASE`.
    fn case(&mut self) -> Result<Parsed, String> {
        let mut branches = Vec::new();
        let mut deepest = 0;
        while self.word_is("when") {
            let (condition, depth) = self.expression(0)?;
            deepest = deepest.max(depth);
            if !self.word_is("then") {
                return Err("CASE WHEN needs THEN".into());
            }
            let (value, depth) = self.expression(0)?;
            deepest = deepest.max(depth);
            branches.push((condition, value));
        }
        if branches.is_empty() {
            return Err("CASE needs WHEN".into());
        }
        let (otherwise, depth) =
            if self.word_is("else") { self.expression(0)? } else { constant(Value::Null) };
        if !self.word_is("end") {
            return Err("CASE needs END".into());
        }
        Ok((Expression::Case(branches, Box::new(otherwise)), deepest.max(depth) + 1))
    }

    fn word_is(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Word(own) if own == word)).is_some()
    }

    fn symbol(&mut self, symbol: &'static str) -> Result<(), String> {
        match self.tokens.next() {
            Some(Token::Symbol(own)) if own == symbol => Ok(()),
            Some(token) => Err(format!("\"{symbol}\" is needed, and {} was found", words(&token))),
            None => Err(format!("\"{symbol}\" is missing")),
        }
    }
}

fn constant(value: Value) -> Parsed {
    (Expression::Constant(value), 1)
}

fn too_deep() -> String {
    format!("the expression has more than {DEEPEST} levels")
}

fn binary(operator: &str, left: Parsed, right: Parsed) -> Result<Parsed, String> {
    let depth = left.1.max(right.1) + 1;
    let (left, right) = (left.0, right.0);
    let function = match operator {
        "and" => return Ok((Expression::And(Box::new(left), Box::new(right)), depth)),
        "or" => return Ok((Expression::Or(Box::new(left), Box::new(right)), depth)),
        "+" => Function::Add,
        "-" => Function::Subtract,
        "*" => Function::Multiply,
        "/" => Function::Divide,
        "%" => Function::Modulo,
        "&" => Function::BitAnd,
        "|" => Function::BitOr,
        "#" => Function::BitXor,
        "<<" => Function::ShiftLeft,
        ">>" => Function::ShiftRight,
        "=" => Function::Equal,
        "<>" | "!=" => Function::NotEqual,
        "<" => Function::Less,
        "<=" => Function::LessEqual,
        // Operands change places.
        ">" => return Ok((Expression::Call(Function::Less, vec![right, left]), depth)),
        ">=" => return Ok((Expression::Call(Function::LessEqual, vec![right, left]), depth)),
        _ => return Err(format!("{operator} is no operator")),
    };
    Ok((Expression::Call(function, vec![left, right]), depth))
}

fn words(token: &Token) -> String {
    match token {
        Token::Integer(number) => number.to_string(),
        Token::Double(number) => number.to_string(),
        Token::Variable(name) => format!(":{name}"),
        Token::Word(word) => word.clone(),
        Token::Symbol(symbol) => format!("\"{symbol}\""),
    }
}
