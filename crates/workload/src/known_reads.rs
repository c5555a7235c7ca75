//! Which statements are known to only read: by what their text can call, as the server's catalogs say.
//!
//! What can write beside the text is a function, called by name or within a view, a policy, an operator, a cast, a
//! domain's check or an operator class. Functions of the server itself (`pg_catalog`) write only where they are
//! volatile, and the harmless ones of these are listed. Functions of extensions that are not volatile are trusted to be
//! what they say (manual, "Function Volatility Categories"); those that users made are not, since a stable function may
//! call a volatile one.

use crate::WorkloadError;
use crate::probe::unreadable;
use pgassay_postgres::Session;
use std::collections::HashSet;

const DOING: &str = "looking for functions that may write";

/// Volatile functions of the server that write nothing, by the beginnings of their names (manual, "Functions and
/// Operators"). They are volatile for their result, or for a lock.
const HARMLESS: [&str; 14] = [
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "pg_advisory_",
    "pg_database_size",
    "pg_relation_size",
    "pg_sleep",
    "pg_total_relation_size",
    "pg_try_advisory_",
    "random",
    "setseed",
    "timeofday",
    "uuidv",
];

/// Functions that may write, then what calls one of them without naming it. A name of a relation is that of a view
/// that comes to such a function, through other views too, or of a relation with such a policy; NULL stands for what
/// any statement may come to: an operator, a cast, a domain, an operator class.
///
/// Stored expressions are read for the functions they call (`pg_node_tree`), since dependencies on functions of the
/// server itself are not recorded (manual, pg_depend).
const MAY_WRITE: &str = r"
    WITH RECURSIVE functions AS MATERIALIZED (
        SELECT p.oid, p.proname
        FROM pg_catalog.pg_proc AS p
        WHERE CASE
              WHEN p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
              THEN p.provolatile = 'v' AND NOT (p.proname::pg_catalog.text ^@ ANY ($1))
              WHEN p.pronamespace = 'information_schema'::pg_catalog.regnamespace THEN false
              ELSE p.provolatile = 'v' OR NOT EXISTS (
                   SELECT FROM pg_catalog.pg_depend AS d
                   WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                     AND d.deptype = 'e')
              END
          AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype,
                                   'pg_catalog.event_trigger'::pg_catalog.regtype)
    ), trees AS (
        SELECT r.ev_class AS relation, r.ev_action::pg_catalog.text AS tree
        FROM pg_catalog.pg_rewrite AS r
             JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
        WHERE r.ev_type = '1' AND c.relkind = 'v'
          AND c.relnamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace,
                                     'information_schema'::pg_catalog.regnamespace)
        UNION ALL
        SELECT polrelid, polqual::pg_catalog.text FROM pg_catalog.pg_policy
        UNION ALL
        SELECT NULL, conbin::pg_catalog.text FROM pg_catalog.pg_constraint WHERE contypid <> 0
    ), calls AS (
        SELECT relation, found[1]::pg_catalog.oid AS function
        FROM trees, pg_catalog.regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS found
        UNION ALL
        SELECT NULL, oprcode::pg_catalog.oid FROM pg_catalog.pg_operator
        UNION ALL
        SELECT NULL, castfunc FROM pg_catalog.pg_cast
        UNION ALL
        SELECT NULL, amproc::pg_catalog.oid FROM pg_catalog.pg_amproc
    ), relations AS (
        SELECT DISTINCT relation FROM calls JOIN functions ON functions.oid = calls.function
        UNION
        SELECT r.ev_class
        FROM relations
             JOIN pg_catalog.pg_depend AS d
               ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = relations.relation
              AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
             JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid AND r.ev_type = '1'
    )
    SELECT DISTINCT proname::pg_catalog.text FROM functions
    UNION ALL
    SELECT c.relname::pg_catalog.text
    FROM relations LEFT JOIN pg_catalog.pg_class AS c ON c.oid = relations.relation /* pgassay */";

/// What a statement that is known to only read does not name.
#[derive(Debug)]
pub(crate) struct MayWrite {
    /// In lower case.
    words: HashSet<String>,
    /// Names with characters of other kinds than those of words; in lower case.
    others: Vec<String>,
    /// Something may write that no statement names.
    anything: bool,
}

impl MayWrite {
    /// Asks the catalogs; where they can't be read, anything may write.
    pub(crate) async fn ask(session: &Session) -> Result<Self, WorkloadError> {
        let reading = session.read(DOING).await?;
        let harmless: Vec<&str> = HARMLESS.to_vec();
        let rows =
            reading.rows(MAY_WRITE, &[(&harmless, tokio_postgres::types::Type::TEXT_ARRAY)]).await;
        reading.end().await?;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) if error.sqlstate().is_some() => {
                tracing::debug!(%error, "functions that may write are not known");
                return Ok(MayWrite::of([None]));
            }
            Err(error) => return Err(error.into()),
        };
        let names: Result<Vec<Option<String>>, tokio_postgres::Error> =
            rows.iter().map(|row| row.try_get(0)).collect();
        Ok(MayWrite::of(names.map_err(|error| unreadable(DOING, &error))?))
    }

    fn of(names: impl IntoIterator<Item = Option<String>>) -> Self {
        let mut found = MayWrite { words: HashSet::new(), others: Vec::new(), anything: false };
        for name in names {
            match name.map(|name| name.to_lowercase()) {
                None => found.anything = true,
                Some(name) if name.chars().all(in_word) => {
                    found.words.insert(name);
                }
                Some(name) => found.others.push(name),
            }
        }
        found
    }

    /// Whether a statement names nothing that may write. Its text is not parsed: a name within a literal or a comment
    /// only makes the answer "not known".
    pub(crate) fn spares(&self, sql: &str) -> bool {
        let text = sql.to_lowercase();
        // Names may be written with escapes (manual, "Identifiers and Key Words").
        !self.anything
            && !text.contains("u&\"")
            && !text.split(|c| !in_word(c)).any(|word| self.words.contains(word))
            && !self.others.iter().any(|name| text.contains(&name.replace('"', "\"\"")))
    }
}

/// Functions that write large objects, in read-only transactions too before 16 (release notes of 16).
const LARGE_OBJECTS: [&str; 9] = [
    "lo_creat",
    "lo_create",
    "lo_from_bytea",
    "lo_import",
    "lo_put",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "lowrite",
];

/// Whether a statement names what no read-only transaction prevents: writing on another server, into a file or, before
/// 16, into large objects, or making its session write again (`set_config('default_transaction_read_only', …)`).
pub(crate) fn escapes(sql: &str) -> bool {
    sql.to_lowercase().split(|c| !in_word(c)).any(|word| {
        word.starts_with("dblink")
            || LARGE_OBJECTS.contains(&word)
            || matches!(
                word,
                "lo_export" | "transaction_read_only" | "default_transaction_read_only"
            )
    })
}

/// Whether a statement takes advisory locks that its transaction's end does not free: an execution just to see would
/// keep them from the application.
pub(crate) fn locks_its_session(sql: &str) -> bool {
    let text = sql.to_lowercase();
    text.contains("pg_advisory_lock") || text.contains("pg_try_advisory_lock")
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_names_what_may_write_is_not_known_to_only_read() {
        let names = ["visit", "Two Words", "a\"b", "nextval"].map(|name| Some(name.to_owned()));
        let may_write = MayWrite::of(names);
        for sql in [
            "SELECT visit()",
            "SELECT public.\"VISIT\"()",
            "SELECT t.visit FROM t",
            "SELECT \"two words\"(1)",
            "SELECT \"A\"\"B\"()",
            "SELECT nextval('s')",
            "SELECT U&\"v\\0069sit\"()",
        ] {
            assert!(!may_write.spares(sql), "{sql}");
        }
        for sql in ["SELECT visits FROM t", "SELECT lower(name), visit_1 FROM two_words", ""] {
            assert!(may_write.spares(sql), "{sql}");
        }
        assert!(!MayWrite::of([None]).spares("SELECT 1"));
    }
}
