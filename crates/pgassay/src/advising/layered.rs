//! Two what-if engines as one: the shadow, and the next best for statements whose relations it can't plan on.
//!
//! A statement that the server does not let this role plan is one for rules, in either.
//!
//! A statement is answered by the same engine under every hypothesis, because costs of two engines are not to be
//! compared with each other for one statement.

use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_shadow::Shadow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where nothing answered: no engine plans the statement, and rules know no relation of it.
pub const NONE: &str = "none";
/// `insufficient_privilege`, as the server's words end with it.
const DENIED: &str = "(42501)";

/// What is known of the answers once they have been given.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Answered>>);

/// Who answered for what.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// Statements that another engine than the first answered for, by id.
    pub elsewhere: BTreeMap<String, Elsewhere>,
    /// EXPLAINs that the target was asked for.
    pub explains: u64,
}

/// Who answered in the first engine's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// `hypopg`, `rule`, or [`NONE`].
    pub engine: &'static str,
    /// Why not the first.
    pub why: String,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been told so far.
    pub fn answered(&self) -> Answered {
        self.lock().clone()
    }
}

/// The shadow, and who answers where it can't.
pub struct Layered {
    shadow: Arc<Shadow>,
    snapshot: Snapshot,
    first: Box<dyn WhatIf>,
    second: Box<dyn WhatIf>,
    /// By text, whether the second answers.
    routes: HashMap<String, bool>,
    told: Told,
}

impl Layered {
    /// `first` plans on `shadow`, `second` on the target or not at all.
    pub fn new(
        shadow: Arc<Shadow>,
        snapshot: &Snapshot,
        first: Box<dyn WhatIf>,
        second: Box<dyn WhatIf>,
        told: Told,
    ) -> Self {
        let (snapshot, routes) = (snapshot.clone(), HashMap::new());
        Layered { shadow, snapshot, first, second, routes, told }
    }

    /// Whether the second engine answers for a statement.
    fn goes_elsewhere(&mut self, statement: &WorkloadStatement) -> bool {
        if let Some(known) = self.routes.get(&statement.sql) {
            return *known;
        }
        let why = self.why_elsewhere(statement);
        self.routes.insert(statement.sql.clone(), why.is_some());
        let Some(why) = why else { return false };
        let engine = if self.second.plans_indexes_for(statement) {
            self.second.engine()
        } else if by_rules(&self.snapshot, statement)
            || self.second.cost(statement, &Hypothesis::default()).is_ok()
        {
            "rule"
        } else {
            NONE
        };
        tracing::info!(statement = statement.id, engine, why, "not answered by the shadow");
        self.told.lock().elsewhere.insert(statement.id.clone(), Elsewhere { engine, why });
        true
    }

    fn why_elsewhere(&mut self, statement: &WorkloadStatement) -> Option<String> {
        let lack = self.shadow.lack_of_statement(&self.snapshot, &statement.sql);
        if let Some(lack) = lack {
            // Estimates that are less precise are better than rules, and worse than those of the target itself.
            return (lack.grave || self.second.plans_indexes())
                .then(|| format!("of {} the shadow lacks {}", lack.relation, lack.why));
        }
        // A function or an operator may be missing that no relation stands on.
        let refused = match self.first.cost(statement, &Hypothesis::default()) {
            Err(WhatIfError::Plan { reason, .. }) => reason,
            _ => return None,
        };
        let answer = self.second.cost(statement, &Hypothesis::default());
        answer.is_ok().then(|| format!("the shadow can't plan it: {refused}"))
    }

    fn count(&mut self) {
        self.told.lock().explains = self.second.calls();
    }
}

impl WhatIf for Layered {
    fn engine(&self) -> &'static str {
        self.first.engine()
    }

    fn plans_indexes(&self) -> bool {
        self.first.plans_indexes()
    }

    fn plans_indexes_for(&mut self, statement: &WorkloadStatement) -> bool {
        let elsewhere = self.goes_elsewhere(statement);
        self.count();
        if elsewhere {
            self.second.plans_indexes_for(statement)
        } else {
            self.first.plans_indexes_for(statement)
        }
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let elsewhere = self.goes_elsewhere(statement);
        let engine = if elsewhere { &mut self.second } else { &mut self.first };
        let answer = engine.cost(statement, hypothesis);
        self.count();
        answer
    }

    fn cost_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Result<PlannedCost, WhatIfError>> {
        let elsewhere: Vec<bool> =
            questions.iter().map(|(statement, _)| self.goes_elsewhere(statement)).collect();
        let both = questions.iter().zip(&elsewhere);
        let own: Vec<(&WorkloadStatement, Hypothesis)> = both
            .filter(|(_, elsewhere)| !**elsewhere)
            .map(|(question, _)| question.clone())
            .collect();
        let mut answers = self.first.cost_many(&own).into_iter();
        let all = questions.iter().zip(elsewhere);
        all.map(|((statement, hypothesis), elsewhere)| {
            let answer = if elsewhere { None } else { answers.next() };
            answer.unwrap_or_else(|| self.cost(statement, hypothesis))
        })
        .collect()
    }

    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        let size = if self.shadow.unable_for(&index.relation).is_some() {
            self.second.index_size(index)
        } else {
            self.first.index_size(index)
        };
        self.count();
        size
    }

    fn calls(&self) -> u64 {
        self.first.calls() + self.second.calls()
    }
}

/// Whether rules from statistics can answer for a statement that nobody plans: they know its relations.
fn by_rules(snapshot: &Snapshot, statement: &WorkloadStatement) -> bool {
    pgassay_sql::shape(&statement.sql, snapshot)
        .is_ok_and(|shape| !shape.relations.is_empty() && shape.unknown_relations.is_empty())
}

/// An engine on the target: it leaves to rules what this role may not read, and so not plan there.
pub struct Permitted {
    engine: Box<dyn WhatIf>,
    snapshot: Snapshot,
    /// By text.
    refused: HashMap<String, bool>,
    told: Told,
}

impl Permitted {
    /// `engine` plans on the target.
    pub fn new(engine: Box<dyn WhatIf>, snapshot: &Snapshot, told: Told) -> Self {
        Permitted { engine, snapshot: snapshot.clone(), refused: HashMap::new(), told }
    }
}

impl WhatIf for Permitted {
    fn engine(&self) -> &'static str {
        self.engine.engine()
    }

    fn plans_indexes(&self) -> bool {
        self.engine.plans_indexes()
    }

    fn plans_indexes_for(&mut self, statement: &WorkloadStatement) -> bool {
        if !self.engine.plans_indexes() {
            return false;
        }
        if let Some(refused) = self.refused.get(&statement.sql) {
            return !refused;
        }
        let answer = self.engine.cost(statement, &Hypothesis::default());
        let why = match answer {
            Err(WhatIfError::Plan { reason, .. }) if reason.contains(DENIED) => Some(reason),
            _ => None,
        };
        self.refused.insert(statement.sql.clone(), why.is_some());
        if let Some(reason) = &why {
            let why = format!("the server does not let this role plan it: {reason}");
            let engine = if by_rules(&self.snapshot, statement) { "rule" } else { NONE };
            let elsewhere = Elsewhere { engine, why };
            self.told.lock().elsewhere.entry(statement.id.clone()).or_insert(elsewhere);
        }
        why.is_none()
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        self.engine.cost(statement, hypothesis)
    }

    fn cost_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Result<PlannedCost, WhatIfError>> {
        self.engine.cost_many(questions)
    }

    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        self.engine.index_size(index)
    }

    fn calls(&self) -> u64 {
        self.engine.calls()
    }
}

/// Who answers where there is no server to ask: nobody, so that rules from statistics do.
pub struct Nobody;

impl WhatIf for Nobody {
    fn engine(&self) -> &'static str {
        "explain"
    }

    fn plans_indexes(&self) -> bool {
        false
    }

    fn cost(&mut self, _: &WorkloadStatement, _: &Hypothesis) -> Result<PlannedCost, WhatIfError> {
        let reason = "the server is out of reach".into();
        Err(WhatIfError::Unsupported { engine: "explain", reason })
    }

    fn index_size(&mut self, _: &IndexDefinition) -> Option<Bytes> {
        None
    }

    fn calls(&self) -> u64 {
        0
    }
}
