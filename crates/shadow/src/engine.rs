//! Answers what-if questions on a shadow: candidates are switched on and existing indexes off inside a transaction
//! that is rolled back.

mod many;

use crate::build::Shadow;
use crate::candidates::{Candidate, Extent};
use crate::{ShadowError, size};
use pgassay_model::index::{Index, IndexDefinition, RelationName};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::what_if::{Explain, Failure, named_relations, refusal, summary};
use pgassay_sql::{index_ddl, quote_literal};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_postgres::types::Type;

const ENGINE: &str = "shadow";
const INDEX_TREE: &str = include_str!("sql/index_tree.130000.sql");
/// A file of this many pages is taken for an index without an estimate.
const UNKNOWN_PAGES: u64 = 2;

impl Shadow {
    /// An engine on a session of its own, for a thread that may block: questions are answered by `runtime`.
    /// Several answer at the same time, each with its own candidates, so that none waits for another's rows.
    pub async fn engine(
        self: &Arc<Self>,
        runtime: Handle,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn WhatIf + Send>, ShadowError> {
        Ok(Box::new(Engine {
            runtime,
            shadow: Arc::clone(self),
            explain: Explain::new(self.session().await?),
            more: Vec::new(),
            snapshot: snapshot.clone(),
            numbers: HashMap::new(),
            candidates: HashMap::new(),
            existing: HashMap::new(),
            named: HashMap::new(),
            costs: HashMap::new(),
            extents: HashMap::new(),
        }))
    }
}

/// A question as far as its answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    statement: String,
    /// The statement's text and the indexes, by number.
    sql: usize,
    indexes: BTreeSet<usize>,
    hidden: BTreeSet<(String, String)>,
    parameters: Vec<(String, String)>,
}

/// An index with its number: definitions are compared once for each question.
type Numbered<'h> = (usize, &'h IndexDefinition);

/// What is known of a statement's text.
#[derive(Debug)]
struct Named {
    number: usize,
    /// Relations on which an index can matter; None: any.
    relations: Option<BTreeSet<String>>,
    /// Why its plans can't be relied on.
    lacking: Option<String>,
}

struct Engine {
    runtime: Handle,
    shadow: Arc<Shadow>,
    explain: Explain,
    /// Sessions that plan at the same time, where many questions come at once.
    more: Vec<Arc<Explain>>,
    snapshot: Snapshot,
    numbers: HashMap<IndexDefinition, usize>,
    /// By number, as extents are.
    candidates: HashMap<usize, Result<Candidate, WhatIfError>>,
    /// Existing indexes with those of partitions, by schema and name.
    existing: HashMap<(String, String), Vec<u32>>,
    named: HashMap<String, Arc<Named>>,
    costs: HashMap<Question, Result<PlannedCost, WhatIfError>>,
    extents: HashMap<usize, Option<Extent>>,
}

impl WhatIf for Engine {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn plans_indexes(&self) -> bool {
        true
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let (question, indexes) = self.question(statement, hypothesis)?;
        if let Some(known) = self.costs.get(&question) {
            return known.clone();
        }
        let answer = self.ask(statement, &indexes, hypothesis);
        // A broken connection is no answer to keep.
        if !self.explain.session().client().is_closed() {
            self.costs.insert(question, answer.clone());
        }
        answer
    }

    fn cost_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Result<PlannedCost, WhatIfError>> {
        self.ask_many(questions)
    }

    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        let number = self.number(index);
        self.extent((number, index)).map(|extent| Bytes(extent.pages * crate::pages::PAGE as u64))
    }

    fn calls(&self) -> u64 {
        self.explain.calls() + self.more.iter().map(|explain| explain.calls()).sum::<u64>()
    }
}

impl Engine {
    /// A question as far as its answer depends on it, and the indexes that can matter.
    fn question<'h>(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &'h Hypothesis,
    ) -> Result<(Question, Vec<Numbered<'h>>), WhatIfError> {
        let named = self.named(&statement.sql);
        if let Some(reason) = &named.lacking {
            return Err(unsupported(reason.clone()));
        }
        let matters = |relation: &RelationName| {
            named.relations.as_ref().is_none_or(|all| all.contains(&relation.to_string()))
        };
        let indexes = hypothesis.indexes.iter().filter(|index| matters(&index.relation));
        let indexes: Vec<Numbered<'_>> = indexes.map(|index| (self.number(index), index)).collect();
        let question = Question {
            statement: statement.id.clone(),
            sql: named.number,
            indexes: indexes.iter().map(|(number, _)| *number).collect(),
            hidden: hypothesis.hidden.iter().cloned().collect(),
            parameters: hypothesis.parameters.clone(),
        };
        Ok((question, indexes))
    }

    fn number(&mut self, index: &IndexDefinition) -> usize {
        if let Some(known) = self.numbers.get(index) {
            return *known;
        }
        let number = self.numbers.len();
        self.numbers.insert(index.clone(), number);
        number
    }

    /// The indexes to switch, and what plans call those that are candidates.
    fn arranged(
        &mut self,
        indexes: &[Numbered<'_>],
        hypothesis: &Hypothesis,
    ) -> Result<(BTreeSet<u32>, HashMap<String, String>), WhatIfError> {
        let mut switched = BTreeSet::new();
        let mut names = HashMap::new();
        for index in indexes {
            let candidate = self.candidate(*index)?;
            switched.extend(candidate.oids);
            names.extend(candidate.names.into_iter().map(|name| (name, index.1.name.clone())));
        }
        for hidden in &hypothesis.hidden {
            switched.extend(self.existing(hidden)?);
        }
        Ok((switched, names))
    }

    fn ask(
        &mut self,
        statement: &WorkloadStatement,
        indexes: &[Numbered<'_>],
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let (switched, names) = self.arranged(indexes, hypothesis)?;
        let plans = self
            .runtime
            .block_on(plan(
                &self.shadow,
                &self.explain,
                statement,
                &switched,
                &hypothesis.parameters,
            ))
            .map_err(|error| refusal(ENGINE, statement, &hypothesis.parameters, &error))?;
        summary(&plans, &names).ok_or_else(|| WhatIfError::Plan {
            statement: statement.id.clone(),
            reason: "EXPLAIN's answer could not be read".into(),
        })
    }

    /// The candidate of this definition, created when it is first asked for.
    fn candidate(&mut self, numbered: Numbered<'_>) -> Result<Candidate, WhatIfError> {
        let (number, index) = numbered;
        if let Some(known) = self.candidates.get(&number) {
            return known.clone();
        }
        let extent = self.extent_or_unknown(numbered);
        let ddl = || index_ddl(index, false);
        let candidate = match self.make(&[(index, extent)]) {
            Ok(Ok(made)) => made
                .into_iter()
                .next()
                .ok_or_else(|| unsupported(format!("{}: it was not created", ddl()))),
            Ok(Err(refused)) => Err(unsupported(format!("{}: {refused}", ddl()))),
            Err(error) => return Err(unsupported(error.to_string())),
        };
        self.candidates.insert(number, candidate.clone());
        candidate
    }

    /// Makes candidates, all on one relation; the inner error is the server's, who refuses one of them.
    fn make(
        &self,
        wanted: &[(&IndexDefinition, Extent)],
    ) -> Result<Result<Vec<Candidate>, String>, ShadowError> {
        let shadow = &self.shadow;
        self.runtime.block_on(async {
            // Nobody plans while the relation's file is cut.
            let mut maker = shadow.maker.write().await;
            maker.make(&shadow.server, wanted).await
        })
    }

    fn extent_or_unknown(&mut self, index: Numbered<'_>) -> Extent {
        let unknown = Extent { pages: UNKNOWN_PAGES, rows: 0.0, has_ends: false };
        self.extent(index).unwrap_or(unknown)
    }

    fn existing(&mut self, name: &(String, String)) -> Result<Vec<u32>, WhatIfError> {
        if let Some(known) = self.existing.get(name) {
            return Ok(known.clone());
        }
        let session = self.explain.session();
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&name.0, Type::TEXT), (&name.1, Type::TEXT)];
        let rows = self
            .runtime
            .block_on(session.client().query_typed(INDEX_TREE, &parameters))
            .map_err(|error| unsupported(error.to_string()))?;
        let oids: Vec<u32> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        self.existing.insert(name.clone(), oids.clone());
        Ok(oids)
    }

    fn named(&mut self, sql: &str) -> Arc<Named> {
        if let Some(known) = self.named.get(sql) {
            return Arc::clone(known);
        }
        let named = Arc::new(Named {
            number: self.named.len(),
            relations: named_relations(&self.snapshot, sql),
            lacking: lacking(&self.shadow, &self.snapshot, sql),
        });
        self.named.insert(sql.to_owned(), Arc::clone(&named));
        named
    }

    fn extent(&mut self, (number, index): Numbered<'_>) -> Option<Extent> {
        if let Some(known) = self.extents.get(&number) {
            return *known;
        }
        let shadow = Arc::clone(&self.shadow);
        let estimated = self.runtime.block_on(async {
            let _planning = shadow.maker.read().await;
            size::estimate(&mut self.explain, &self.snapshot, index).await
        });
        let extent = estimated
            .inspect_err(|error| tracing::debug!(%error, index = %index.name, "no size"))
            .ok()
            .flatten()
            .map(|(pages, rows)| Extent { pages, rows, has_ends: has_ends(&self.snapshot, index) });
        self.extents.insert(number, extent);
        extent
    }
}

/// Plans with some indexes switched the other way and some parameters set; nothing of it stays.
async fn plan(
    shadow: &Shadow,
    explain: &Explain,
    statement: &WorkloadStatement,
    switched: &BTreeSet<u32>,
    parameters: &[(String, String)],
) -> Result<Vec<serde_json::Value>, Failure> {
    let _planning = shadow.maker.read().await;
    if switched.is_empty() && parameters.is_empty() {
        return explain.statement(statement, &[]).await;
    }
    let mut begin = String::from("BEGIN");
    if !switched.is_empty() {
        // In the order of the index on indexrelid, the same for all engines: two that hide the same index wait for
        // each other, and never in a circle.
        let oids: Vec<String> = switched.iter().map(u32::to_string).collect();
        begin.push_str(&format!(
            "; UPDATE pg_catalog.pg_index SET indisvalid = NOT indisvalid WHERE indexrelid = ANY ('{{{}}}'::pg_catalog.oid[])",
            oids.join(",")
        ));
    }
    for (name, value) in parameters {
        begin.push_str(&format!(
            "; SELECT pg_catalog.set_config({}, {}, true)",
            quote_literal(name),
            quote_literal(value)
        ));
    }
    begin.push_str(" /* pgassay */");
    // In this order on one connection, all sent before the first is answered.
    let (began, plans, ended) = tokio::join!(
        biased;
        batch(explain, &begin),
        explain.statement(statement, &[]),
        batch(explain, "ROLLBACK /* pgassay */"),
    );
    began.map_err(Failure::Parameter)?;
    let plans = plans?;
    ended.map_err(Failure::Plan)?;
    Ok(plans)
}

async fn batch(explain: &Explain, sql: &str) -> Result<(), pgassay_postgres::PostgresError> {
    explain.session().client().batch_execute(sql).await.map_err(|error| {
        let refusal = error.as_db_error();
        pgassay_postgres::PostgresError::Query {
            doing: "switching indexes of the shadow".into(),
            message: refusal
                .map_or_else(|| error.to_string(), |refusal| refusal.message().to_owned()),
            sqlstate: refusal.map(|refusal| refusal.code().code().to_owned()),
        }
    })
}

/// Whether an index that exists tells the ends of this one's leading key already.
fn has_ends(snapshot: &Snapshot, index: &IndexDefinition) -> bool {
    let ends = |existing: &Index| {
        let definition = &existing.definition;
        existing.valid
            && definition.method == "btree"
            && definition.predicate.is_none()
            && definition.keys.first().zip(index.keys.first()).is_some_and(|(a, b)| {
                a.column == b.column && a.expression == b.expression && a.opclass == b.opclass
            })
    };
    snapshot.relation(&index.relation).is_some_and(|relation| relation.indexes.iter().any(ends))
}

/// Why nothing can be said of a statement's plans.
fn lacking(shadow: &Shadow, snapshot: &Snapshot, sql: &str) -> Option<String> {
    let lack = shadow.lack_of_statement(snapshot, sql).filter(|lack| lack.grave)?;
    Some(format!("of {} is lacking {}", lack.relation, lack.why))
}

fn unsupported(reason: String) -> WhatIfError {
    WhatIfError::Unsupported { engine: ENGINE, reason }
}
