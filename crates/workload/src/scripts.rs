//! pgbench scripts as a workload: the scripts, and their statements with the values they will have.

use crate::WorkloadError;
use crate::file::read_text;
use crate::pgbench::{self, Effect};
use pgassay_model::Timestamp;
use pgassay_model::workload::{SCHEMA, Script, Workload, WorkloadStatement};
use pgassay_sql::StatementKind;
use std::path::PathBuf;

/// Seed of the runs without a server that give values.
const SEED: u64 = 42;

/// Reads scripts with their weights.
pub(crate) fn read(files: &[(PathBuf, f64)]) -> Result<Workload, WorkloadError> {
    let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    let mut workload = Workload {
        schema: SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        source: format!("pgbench script {}", names.join(", ")),
        statements: Vec::new(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    for (path, weight) in files {
        let text = read_text(path)?;
        let program = pgbench::parse(&text).map_err(|error| WorkloadError::Script {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let bare = |query: &&pgbench::Query| {
            pgassay_sql::parameter_count(&query.sql)
                .is_ok_and(|count| count > query.variables.len())
        };
        if let Some(query) = program.queries.iter().find(bare) {
            return Err(WorkloadError::Script {
                path: path.clone(),
                reason: format!(
                    "line {}: ${} is no variable of a script; put the statement into a directory of .sql files, \
                     with its values in `-- params: [...]` lines",
                    query.line,
                    query.variables.len() + 1
                ),
            });
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let mut id = stem.unwrap_or_default();
        if workload.scripts.iter().any(|known| known.id == id) {
            id = format!("{id}-{}", workload.scripts.len() + 1);
        }
        let sets = pgbench::sets(&program, SEED);
        for (number, (query, parameters)) in program.queries.iter().zip(sets).enumerate() {
            // BEGIN, END and the like belong to the script alone.
            if query.kind == StatementKind::Utility {
                continue;
            }
            workload.statements.push(WorkloadStatement {
                id: pgbench::statement_id(&id, number),
                sql: query.sql.clone(),
                weight: *weight,
                writes: query.effect == Effect::Writes,
                parameter_source: if parameters.is_empty() { "" } else { "the script" }.to_owned(),
                parameters,
                ..WorkloadStatement::default()
            });
        }
        workload.scripts.push(Script { id, weight: *weight, writes: program.writes(), text });
    }
    Ok(workload)
}
