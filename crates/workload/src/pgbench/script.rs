//! A script file: its statements and meta-commands as steps, `\if` made into jumps.

use super::expression::Expression;
use super::lexer::name_length;
use super::sql::{self, Effect, Ending, Query};
use super::value::Value;
use super::{EvaluationError, ScriptError, Variables};
use pgassay_sql::StatementKind;
use rand::rngs::Xoshiro256PlusPlus;
use std::collections::BTreeSet;
use std::time::Duration;

/// Variables that pgbench sets by itself.
pub(crate) const GIVEN: [&str; 4] = ["client_id", "default_seed", "random_seed", "scale"];

/// A script, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// Its statements.
    pub queries: Vec<Query>,
    /// Names of its variables; steps and queries have their numbers.
    pub variables: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Sends a statement.
    Query {
        /// Which.
        query: usize,
        /// Whether its row is kept.
        keep: Option<Keep>,
    },
    /// `\set`.
    Set {
        /// The variable.
        variable: usize,
        /// Its value.
        expression: Expression,
    },
    /// `\sleep`: a number (a literal or a variable) of microseconds each.
    Sleep {
        /// How many.
        time: Expression,
        /// Of how many microseconds.
        unit_us: u64,
    },
    /// Goes on at a step unless a condition holds.
    JumpUnless {
        /// The condition.
        condition: Expression,
        /// The step.
        to: usize,
    },
    /// Goes on at a step.
    Jump {
        /// The step.
        to: usize,
    },
}

/// What `\gset` and `\aset` keep: the columns of the answer as variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// What the columns' names are prefixed with.
    pub prefix: String,
    /// `\gset`, which needs exactly one row; `\aset` keeps the last one, if there is any.
    pub one_row: bool,
}

impl Program {
    /// Number of a variable; None where the script doesn't use it.
    pub fn variable(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|own| own == name)
    }

    /// Whether any of its statements changes data, or asks for a transaction that may (BEGIN READ WRITE).
    pub fn writes(&self) -> bool {
        self.queries.iter().any(|query| match query.effect {
            Effect::Writes => true,
            Effect::Begins => sql::asks_to_write(&query.sql),
            Effect::Reads | Effect::Commits | Effect::RollsBack => false,
        })
    }

    /// How long a `\sleep` takes.
    pub fn sleep(
        time: &Expression,
        unit_us: u64,
        variables: &Variables,
        random: &mut Xoshiro256PlusPlus,
    ) -> Result<Duration, EvaluationError> {
        let count = match variables.evaluate(time, random)? {
            Value::Null => 0,
            value => value.integer()?,
        };
        Ok(Duration::from_micros(u64::try_from(count).unwrap_or(0).saturating_mul(unit_us)))
    }
}

/// Reads a script.
pub fn parse(text: &str) -> Result<Program, ScriptError> {
    let (known, prefixes) = names_set(text);
    let mut reader = Reader {
        text,
        at: 0,
        program: Program::default(),
        open: Vec::new(),
        known,
        prefixes,
        last: None,
    };
    while reader.at < text.len() {
        reader.next().map_err(|reason| ScriptError { line: reader.line(), reason })?;
    }
    if let Some(open) = reader.open.first() {
        return Err(ScriptError { line: open.line, reason: "\\if has no \\endif".into() });
    }
    if reader.program.queries.is_empty() {
        return Err(ScriptError { line: 1, reason: "the script holds no statement".into() });
    }
    Ok(reader.program)
}

/// Names of the variables that are set anywhere, and prefixes of those that `\gset` and `\aset` set.
fn names_set(text: &str) -> (BTreeSet<String>, Vec<String>) {
    let mut known: BTreeSet<String> = GIVEN.iter().map(|name| (*name).to_owned()).collect();
    let mut prefixes = Vec::new();
    for part in text.split('\\').skip(1) {
        let line = part.lines().next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("set") => known.extend(words.next().map(str::to_owned)),
            Some("gset" | "aset") => prefixes.push(words.next().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
    (known, prefixes)
}

/// An `\if` that is open.
struct Open {
    line: usize,
    /// The jump over the branch that is being read.
    over: Option<usize>,
    /// The jumps from the branches' ends to the end of all.
    to_end: Vec<usize>,
    in_else: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    program: Program,
    open: Vec<Open>,
    known: BTreeSet<String>,
    prefixes: Vec<String>,
    /// The step of the statement right before, which `\gset` is about.
    last: Option<usize>,
}

impl Reader<'_> {
    fn line(&self) -> usize {
        let at = self.at.min(self.text.len());
        // A command's own line, also where white space before it was skipped already.
        let rest = self.text.get(at..).unwrap_or_default();
        let skipped = rest.len() - rest.trim_start().len();
        1 + self.text.get(..at + skipped).unwrap_or_default().matches('\n').count()
    }

    fn next(&mut self) -> Result<(), String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let scanned = sql::scan(rest);
        let body = rest.get(..scanned.length).unwrap_or_default();
        let line = 1 + self.text.get(..self.at).unwrap_or_default().matches('\n').count();
        let Program { variables, .. } = &mut self.program;
        let mut number = |name: &str| slot(variables, name);
        let query =
            sql::query(body, &scanned.variables, line, &self.known, &self.prefixes, &mut number)?;
        if let Some(query) = query {
            self.last = Some(self.program.steps.len());
            self.program.steps.push(Step::Query { query: self.program.queries.len(), keep: None });
            self.program.queries.push(query);
        }
        self.at += scanned.length;
        match scanned.ending {
            Ending::Text => Ok(()),
            Ending::Semicolon => {
                self.at += 1;
                Ok(())
            }
            Ending::Backslash => self.command(),
        }
    }

    /// A meta-command, whose backslash is next.
    fn command(&mut self) -> Result<(), String> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let length = command_length(rest);
        let command = rest.get(..length).unwrap_or_default();
        if command.starts_with(';') {
            return Err("\\; is not supported: send the statements one by one".into());
        }
        let name = command.get(..name_length(command)).unwrap_or_default();
        let argument = command.get(name.len()..).unwrap_or_default().trim();
        let argument = argument.trim_end_matches('\\').trim_end();
        let last = self.last.take();
        match name {
            "set" => self.set(argument)?,
            "sleep" => self.sleep(argument)?,
            "if" => {
                let condition = self.expression(argument)?;
                self.open.push(Open {
                    line: self.line(),
                    over: None,
                    to_end: Vec::new(),
                    in_else: false,
                });
                self.branch(condition);
            }
            "elif" => {
                self.end_branch("\\elif")?;
                let condition = self.expression(argument)?;
                self.branch(condition);
            }
            "else" => {
                self.end_branch("\\else")?;
                if let Some(open) = self.open.last_mut() {
                    open.in_else = true;
                }
            }
            "endif" => self.end_if()?,
            "gset" | "aset" => self.keep(name, argument, last)?,
            "startpipeline" | "syncpipeline" | "endpipeline" => {
                return Err(format!("\\{name} is not supported: pipelines are not driven"));
            }
            "shell" | "setshell" => {
                return Err(format!("\\{name} is not supported: scripts run no programs"));
            }
            _ => return Err(format!("\\{name} is no command of pgbench's scripts")),
        }
        self.at += 1 + length;
        Ok(())
    }

    fn expression(&mut self, text: &str) -> Result<Expression, String> {
        let Program { variables, .. } = &mut self.program;
        let (known, prefixes) = (&self.known, &self.prefixes);
        let mut unknown = None;
        let expression = Expression::parse(text, &mut |name| {
            if !known.contains(name) && !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                unknown.get_or_insert_with(|| name.to_owned());
            }
            slot(variables, name)
        })?;
        match unknown {
            Some(name) => Err(format!("the variable :{name} is set nowhere in the script")),
            None => Ok(expression),
        }
    }

    fn set(&mut self, argument: &str) -> Result<(), String> {
        let length = name_length(argument);
        let (name, text) = (argument.get(..length), argument.get(length..));
        match (name, text.map(str::trim)) {
            (Some(name), Some(text)) if !name.is_empty() && !text.is_empty() => {
                let expression = self.expression(text)?;
                let variable = slot(&mut self.program.variables, name);
                self.program.steps.push(Step::Set { variable, expression });
                Ok(())
            }
            _ => Err("\\set needs a name and an expression".into()),
        }
    }

    fn sleep(&mut self, argument: &str) -> Result<(), String> {
        let usage = || "\\sleep needs a number or a variable, and us, ms or s".to_owned();
        let split = argument.find(|c: char| c.is_whitespace()).unwrap_or(argument.len());
        let (time, unit) = argument.split_at_checked(split).ok_or_else(usage)?;
        // The unit may follow the number at once.
        let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (time, unit) = match (unit.trim(), time.starts_with(':')) {
            ("", false) => (digits, time.get(digits.len()..).unwrap_or_default()),
            (unit, _) => (time, unit),
        };
        let unit_us = match unit {
            "us" => 1,
            "ms" => 1000,
            "s" | "" => 1_000_000,
            _ => return Err(usage()),
        };
        if !time.starts_with(':') && time.parse::<u32>().is_err() {
            return Err(usage());
        }
        let time = self.expression(time)?;
        self.program.steps.push(Step::Sleep { time, unit_us });
        Ok(())
    }

    fn branch(&mut self, condition: Expression) {
        let step = self.program.steps.len();
        self.program.steps.push(Step::JumpUnless { condition, to: step });
        if let Some(open) = self.open.last_mut() {
            open.over = Some(step);
        }
    }

    /// Ends the branch before `\elif` or `\else` by a jump to the end of all.
    fn end_branch(&mut self, command: &str) -> Result<(), String> {
        let step = self.program.steps.len();
        let Some(open) = self.open.last_mut() else {
            return Err(format!("{command} has no \\if"));
        };
        if open.in_else {
            return Err(format!("{command} comes after \\else"));
        }
        open.to_end.push(step);
        let over = open.over.take();
        self.program.steps.push(Step::Jump { to: step });
        self.aim(over, step + 1);
        Ok(())
    }

    fn end_if(&mut self) -> Result<(), String> {
        let open = self.open.pop().ok_or("\\endif has no \\if")?;
        let end = self.program.steps.len();
        self.aim(open.over, end);
        for jump in open.to_end {
            self.aim(Some(jump), end);
        }
        Ok(())
    }

    fn aim(&mut self, jump: Option<usize>, target: usize) {
        if let Some(Step::JumpUnless { to, .. } | Step::Jump { to }) =
            jump.and_then(|jump| self.program.steps.get_mut(jump))
        {
            *to = target;
        }
    }

    fn keep(&mut self, name: &str, prefix: &str, last: Option<usize>) -> Result<(), String> {
        let step = last.and_then(|last| self.program.steps.get_mut(last));
        let Some(Step::Query { query, keep }) = step else {
            return Err(format!("\\{name} must come right after a statement, without a semicolon"));
        };
        let kind = self.program.queries.get(*query).map(|query| query.kind);
        if kind == Some(StatementKind::Utility) {
            return Err(format!("\\{name} needs a statement that returns rows"));
        }
        *keep = Some(Keep { prefix: prefix.to_owned(), one_row: name == "gset" });
        Ok(())
    }
}

/// Length of a meta-command: to the end of its line, or of a line that it goes on to after a backslash.
fn command_length(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(end) = rest.find('\n') else { return text.len() };
        let line = rest.get(..end).unwrap_or_default();
        at += end;
        if !line.trim_end_matches('\r').ends_with('\\') {
            return at;
        }
        at += 1;
    }
}

/// The number of a variable, which is a new one where the name is new.
fn slot(variables: &mut Vec<String>, name: &str) -> usize {
    match variables.iter().position(|own| own == name) {
        Some(known) => known,
        None => {
            variables.push(name.to_owned());
            variables.len() - 1
        }
    }
}
