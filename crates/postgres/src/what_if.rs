//! What-if engines: EXPLAIN under other parameters, and under other indexes where HypoPG is installed.
//! Nothing is executed, and nothing outlives the session.

mod descent;
mod explain;
mod hypopg;
mod plan;
mod size;

pub use explain::{Explain, Failure, TextValue};
pub use plan::summary;
pub use size::{estimate, extent};

use crate::{PostgresError, Session};
use hypopg::Hypopg;
use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use std::collections::{BTreeSet, HashMap};
use tokio::runtime::Handle;

/// The best engine that this server allows: `hypopg` where the extension is installed in the database and
/// the session is direct, else `explain`, which answers for parameters only.
///
/// For a thread that may block: questions are answered by `runtime`.
pub fn what_if(runtime: Handle, session: Session, snapshot: &Snapshot) -> Box<dyn WhatIf> {
    let installed = snapshot.server.extensions.contains_key("hypopg");
    // Hypothetical indexes live in one backend, which a pooler would hand on.
    let hypopg = if installed && !session.pooled() {
        runtime.block_on(Hypopg::find(&session)).unwrap_or_else(|error| {
            tracing::warn!(%error, "HypoPG is installed and cannot be used");
            None
        })
    } else {
        None
    };
    Box::new(Engine {
        runtime,
        explain: Explain::new(session),
        hypopg,
        snapshot: snapshot.clone(),
        costs: HashMap::new(),
        relations: HashMap::new(),
        sizes: HashMap::new(),
    })
}

/// A question as far as its answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    statement: String,
    sql: String,
    indexes: BTreeSet<String>,
    hidden: BTreeSet<(String, String)>,
    parameters: Vec<(String, String)>,
}

struct Engine {
    runtime: Handle,
    explain: Explain,
    hypopg: Option<Hypopg>,
    snapshot: Snapshot,
    costs: HashMap<Question, Result<PlannedCost, WhatIfError>>,
    /// What [`Engine::relations`] found.
    relations: HashMap<String, Option<BTreeSet<String>>>,
    sizes: HashMap<String, Option<Bytes>>,
}

impl WhatIf for Engine {
    fn engine(&self) -> &'static str {
        if self.hypopg.is_some() { "hypopg" } else { "explain" }
    }

    fn plans_indexes(&self) -> bool {
        self.hypopg.is_some()
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let relations = self.relations(&statement.sql);
        let matters = |index: &&IndexDefinition| {
            let relation = index.relation.to_string();
            relations.as_ref().is_none_or(|relations| relations.contains(&relation))
        };
        let indexes: Vec<&IndexDefinition> = hypothesis.indexes.iter().filter(matters).collect();
        let question = Question {
            statement: statement.id.clone(),
            sql: statement.sql.clone(),
            indexes: indexes.iter().map(|index| pgassay_sql::index_ddl(index, false)).collect(),
            hidden: hypothesis.hidden.iter().cloned().collect(),
            parameters: hypothesis.parameters.clone(),
        };
        if let Some(known) = self.costs.get(&question) {
            return known.clone();
        }
        let answer = self.ask(statement, &indexes, relations.as_ref(), hypothesis);
        // A broken connection is no answer to keep.
        if !self.explain.session().client().is_closed() {
            self.costs.insert(question, answer.clone());
        }
        answer
    }

    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        let ddl = pgassay_sql::index_ddl(index, false);
        if let Some(size) = self.sizes.get(&ddl) {
            return *size;
        }
        let size = self
            .runtime
            .block_on(size::estimate(&mut self.explain, &self.snapshot, index))
            .inspect_err(|error| tracing::debug!(%error, index = %index.name, "no size"))
            .unwrap_or(None);
        self.sizes.insert(ddl, size);
        size
    }

    fn calls(&self) -> u64 {
        self.explain.calls()
    }
}

impl Engine {
    fn ask(
        &mut self,
        statement: &WorkloadStatement,
        indexes: &[&IndexDefinition],
        relations: Option<&BTreeSet<String>>,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let engine = self.engine();
        let unsupported =
            |reason: &str| WhatIfError::Unsupported { engine, reason: reason.to_owned() };
        let mut names = HashMap::new();
        match &mut self.hypopg {
            Some(hypopg) => {
                let session = self.explain.session();
                names = self.runtime.block_on(hypopg.arrange(session, indexes, relations))?;
                let hidden = oids(&self.snapshot, &hypothesis.hidden);
                self.runtime.block_on(hypopg.hide(session, hidden))?;
            }
            None if !indexes.is_empty() => {
                return Err(unsupported("hypothetical indexes take the extension HypoPG"));
            }
            None if !hypothesis.hidden.is_empty() => {
                return Err(unsupported("hiding an index takes the extension HypoPG 1.4"));
            }
            None => {}
        }
        let plans = self
            .runtime
            .block_on(self.explain.statement(statement, &hypothesis.parameters))
            .map_err(|error| refusal(engine, statement, &hypothesis.parameters, &error))?;
        let mut cost = plan::summary(&plans, &names).ok_or_else(|| WhatIfError::Plan {
            statement: statement.id.clone(),
            reason: "EXPLAIN's answer could not be read".into(),
        })?;
        if !indexes.is_empty() {
            let each = self.descents(indexes, &names);
            let missing = plans.iter().map(|plan| descent::missing(plan, &each)).sum::<f64>();
            cost.total_cost += missing / plans.len().max(1) as f64;
        }
        Ok(cost)
    }

    /// What a descent of each hypothetical B-tree costs, by the name that plans use.
    fn descents(
        &mut self,
        indexes: &[&IndexDefinition],
        names: &HashMap<String, String>,
    ) -> HashMap<String, f64> {
        let operator_cost = self
            .snapshot
            .parameter("cpu_operator_cost")
            .and_then(|parameter| parameter.number())
            .unwrap_or(0.0025);
        let mut each = HashMap::new();
        for index in indexes.iter().filter(|index| index.method == "btree") {
            let hypothetical = names.iter().find(|(_, name)| **name == index.name);
            if let (Some((plans_name, _)), Some(size)) = (hypothetical, self.index_size(index)) {
                each.insert(plans_name.clone(), descent::of(size, operator_cost));
            }
        }
        each
    }

    /// Relations on which an index can matter to a statement: those that it names; None, for any, where one
    /// of them stands for others (a view, a partitioned table, one that others inherit from) or the statement is not understood.
    fn relations(&mut self, sql: &str) -> Option<BTreeSet<String>> {
        if let Some(known) = self.relations.get(sql) {
            return known.clone();
        }
        let named = named_relations(&self.snapshot, sql);
        self.relations.insert(sql.to_owned(), named.clone());
        named
    }
}

/// Relations that a statement names, as `schema.name`; None where one of them stands for others (a view, a
/// partitioned table, one that others inherit from) or the statement is not understood.
pub fn named_relations(snapshot: &Snapshot, sql: &str) -> Option<BTreeSet<String>> {
    let shape = pgassay_sql::shape(sql, snapshot).ok()?;
    let plain = shape.unknown_relations.is_empty()
        && shape.views.is_empty()
        && shape.relations.iter().all(|used| {
            let known = snapshot.relation(&used.name);
            known.is_some_and(|known| known.kind != 'p' && !known.has_children)
        });
    plain.then(|| shape.relations.iter().map(|used| used.name.to_string()).collect())
}

fn oids(snapshot: &Snapshot, hidden: &[(String, String)]) -> BTreeSet<u32> {
    snapshot
        .relations
        .iter()
        .flat_map(|relation| &relation.indexes)
        .filter(|index| {
            hidden.iter().any(|(schema, name)| {
                *schema == index.definition.relation.schema && *name == index.definition.name
            })
        })
        .map(|index| index.oid)
        .collect()
}

/// A parameter that a session can't set is the engine's limit; anything else is the statement's.
pub fn refusal(
    engine: &'static str,
    statement: &WorkloadStatement,
    parameters: &[(String, String)],
    error: &Failure,
) -> WhatIfError {
    match error {
        Failure::Parameter(error) => {
            let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
            WhatIfError::Unsupported {
                engine,
                reason: format!("a session cannot set {}: {error}", names.join(", ")),
            }
        }
        Failure::Plan(error) => {
            WhatIfError::Plan { statement: statement.id.clone(), reason: words(error) }
        }
    }
}

/// The server's words with SQLSTATE, without what we were doing.
pub fn words(error: &PostgresError) -> String {
    match error {
        PostgresError::Query { message, sqlstate: Some(sqlstate), .. }
        | PostgresError::MissingPrivilege { message, sqlstate, .. } => {
            format!("{message} ({sqlstate})")
        }
        other => other.to_string(),
    }
}
