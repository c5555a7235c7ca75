//! Which statements write though their text only reads: by a function they call, or a view or operator that calls one.
//! The server is asked, in read-only transactions.

use crate::WorkloadError;
use crate::known_reads::{MayWrite, escapes, locks_its_session};
use crate::representative::{explain, order};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_postgres::Session;
use std::time::{Duration, Instant};

/// Sets of each statement that are tried: a function may write for some values only.
const SETS: usize = 3;
/// An execution is cancelled after this. What writes mostly does so at once: a function's first statement.
const TIMEOUT: Duration = Duration::from_millis(500);
/// All executions together end after this.
const TIME: Duration = Duration::from_secs(3);

/// read_only_sql_transaction (manual, appendix A)
const READ_ONLY: &str = "25006";

/// Marks statements that are known to only read, by what they can call; runs each of the others that seem to read, with
/// up to 3 of their sets, in read-only transactions that are rolled back, and marks as writing what the server refuses
/// there: INSERT, UPDATE and the like within functions, sequences that are advanced (nextval, setval).
/// What no such transaction prevents (dblink, files, large objects) counts as writing without being run. Scripts that
/// hold such a statement are marked too.
///
/// At most half a second for each execution, 3 s in all, the heaviest statements first; what only writes for other
/// values, or later than that, is not found, and so not known to only read.
pub async fn find_hidden_writes(
    workload: &mut Workload,
    session: &Session,
    interrupt: &Interrupt,
) -> Result<(), WorkloadError> {
    let may_write = MayWrite::ask(session).await?;
    for statement in &mut workload.statements {
        statement.writes |= escapes(&statement.sql);
        statement.reads_only = !statement.writes && may_write.spares(&statement.sql);
    }
    let end = Instant::now() + TIME;
    let unknown = |statement: &&mut WorkloadStatement| {
        !statement.writes && !statement.reads_only && !locks_its_session(&statement.sql)
    };
    let mut heaviest: Vec<_> = workload.statements.iter_mut().filter(unknown).collect();
    heaviest.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    for statement in heaviest {
        let none = vec![Vec::new()];
        let sets = if statement.parameters.is_empty() { &none } else { &statement.parameters };
        for set in order(sets.len()).into_iter().take(SETS).filter_map(|set| sets.get(set)) {
            let left = end.saturating_duration_since(Instant::now()).min(TIMEOUT);
            if left.is_zero() || interrupt.requested() {
                break;
            }
            match explain(session, &statement.sql, set, left).await? {
                Ok(_) => {}
                Err(sqlstate) => {
                    statement.writes = sqlstate == READ_ONLY;
                    break;
                }
            }
        }
    }
    let Workload { statements, scripts, .. } = workload;
    for script in scripts.iter_mut().filter(|script| !script.writes) {
        script.writes = statements.iter().any(|statement| {
            let within = statement.id.strip_prefix(script.id.as_str());
            statement.writes
                && within
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|number| number.chars().all(|digit| digit.is_ascii_digit()))
        });
    }
    Ok(())
}
