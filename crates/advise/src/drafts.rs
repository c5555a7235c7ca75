//! A change on its way into the plan: all of it but the id, which depends on the order.

use crate::plan_gate::Flip;
use pgassay_model::change::Change;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::{Expected, ExpectedSource, NotProposed, PlannedChange, Risk};
use pgassay_sql::{quote_identifier, quote_literal};

/// What a rule decides.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    /// Propose it.
    Propose(Box<Draft>),
    /// Propose it if the planner chooses other plans with it.
    IfPlansChange {
        /// What would be proposed.
        draft: Box<Draft>,
        /// Which changes of a plan speak for it.
        counts: fn(&Flip) -> bool,
    },
    /// Leave it as it is, for this reason.
    Keep(String),
}

/// A change with its grounds.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) change: Change,
    pub(crate) title: String,
    pub(crate) group: &'static str,
    pub(crate) apply: Vec<String>,
    pub(crate) undo: Vec<String>,
    pub(crate) needs_restart: bool,
    pub(crate) expected: Expected,
    pub(crate) risk: Risk,
    pub(crate) evidence: Vec<String>,
    pub(crate) statements: Vec<String>,
    pub(crate) mechanism: String,
}

impl Draft {
    /// A parameter with another value. `mechanism` is the counter that must move.
    pub(crate) fn parameter(
        parameter: &Parameter,
        to: String,
        group: &'static str,
        risk: Risk,
        expected: Expected,
        evidence: Vec<String>,
        mechanism: &str,
    ) -> Draft {
        let name = quote_identifier(&parameter.name);
        let reload = "SELECT pg_catalog.pg_reload_conf()".to_owned();
        let in_auto_conf = parameter
            .sourcefile
            .as_deref()
            .is_some_and(|file| file.ends_with("/postgresql.auto.conf"));
        let back = if in_auto_conf {
            format!("ALTER SYSTEM SET {name} = {}", quote_literal(&parameter.current))
        } else {
            format!("ALTER SYSTEM RESET {name}")
        };
        Draft {
            title: format!("{} {} → {to}", parameter.name, parameter.current),
            group,
            apply: vec![
                format!("ALTER SYSTEM SET {name} = {}", quote_literal(&to)),
                reload.clone(),
            ],
            undo: vec![back, reload],
            needs_restart: parameter.needs_restart(),
            expected,
            risk,
            evidence,
            statements: Vec::new(),
            mechanism: mechanism.to_owned(),
            change: Change::SetParameter {
                name: parameter.name.clone(),
                from: parameter.current.clone(),
                to,
            },
        }
    }

    /// The same as a change of the plan.
    pub(crate) fn planned(self, id: String) -> PlannedChange {
        PlannedChange {
            id,
            change: self.change,
            title: self.title,
            group: self.group.to_owned(),
            apply: self.apply,
            undo: self.undo,
            needs_restart: self.needs_restart,
            expected: self.expected,
            risk: self.risk,
            evidence: self.evidence,
            statements: self.statements,
            mechanism: self.mechanism,
        }
    }
}

/// An effect for which no figure can be defended before it is measured.
pub(crate) fn without_figure(effect: impl Into<String>, source: ExpectedSource) -> Expected {
    Expected { effect: effect.into(), low: None, high: None, source }
}

/// Shorthand for something left alone.
pub(crate) fn not_proposed(what: impl Into<String>, why: impl Into<String>) -> NotProposed {
    NotProposed { what: what.into(), why: why.into() }
}
