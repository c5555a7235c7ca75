//! Failures as a user meets them: one sentence, a hint, and an exit status that scripts can tell apart.

use pgassay_model::interrupt::Interrupt;
use serde_json::json;

/// Exit statuses of the command-line contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the answer is no.
    No = 1,
    /// Bad usage or input.
    Input = 2,
    /// Server unreachable or login refused.
    Unreachable = 3,
    /// Privilege, version or extension missing.
    Missing = 4,
    /// A change failed and everything was undone.
    Undone = 5,
    /// A change failed and something could not be undone.
    NotUndone = 6,
    /// Interrupted, undone.
    Interrupted = 130,
}

/// A failure that ends the command.
#[derive(Debug)]
pub struct Failure {
    /// What happened, to what.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// Exit status.
    pub exit: Exit,
}

impl Failure {
    /// A failure with a hint.
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure { message: message.into(), hint: hint.into(), exit }
    }

    /// Bad input.
    pub fn input(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure::new(Exit::Input, message, hint)
    }

    /// The error document of the command-line contract.
    pub fn to_json(&self) -> String {
        json!({
            "schema": "pgassay/error/1",
            "generated_at": jiff::Timestamp::now().to_string(),
            "error": self.message,
            "hint": self.hint,
            "exit": self.exit as i32,
        })
        .to_string()
    }
}

/// Ends work that Ctrl-C cut short: advice on the part that was looked at would read as if there were no more.
pub fn unless_interrupted(interrupt: &Interrupt) -> Result<(), Failure> {
    if interrupt.requested() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted before everything was looked at",
            "nothing was changed or written; start again",
        ));
    }
    Ok(())
}

/// The words of an error and of everything that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
