//! What the catalog says of the things that change: indexes, relations, rights, the server itself.

use crate::error::ChangeError;
use pgassay_model::connection::{ConnectionSettings, Host};
use pgassay_model::index::RelationName;
use std::path::PathBuf;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// Marks a statement as ours, so that it is left out of workloads.
pub(crate) fn marked(sql: &str) -> String {
    format!("{sql} /* pgassay */")
}

/// Runs one query that yields any number of rows.
pub(crate) async fn rows(
    client: &Client,
    doing: &str,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ChangeError> {
    client.query(&marked(sql), values).await.map_err(|error| ChangeError::query(doing, &error))
}

/// Runs one query that yields at most one row.
pub(crate) async fn row(
    client: &Client,
    doing: &str,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, ChangeError> {
    client.query_opt(&marked(sql), values).await.map_err(|error| ChangeError::query(doing, &error))
}

/// Runs one statement outside any transaction block, as CONCURRENTLY and ALTER SYSTEM need it.
pub(crate) async fn execute(client: &Client, doing: &str, sql: &str) -> Result<(), ChangeError> {
    client.batch_execute(&marked(sql)).await.map_err(|error| ChangeError::query(doing, &error))
}

/// One column of a row.
pub(crate) fn column<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    name: &str,
) -> Result<T, ChangeError> {
    row.try_get(name).map_err(|error| ChangeError::query(format!("reading column {name}"), &error))
}

/// The server and the role in use.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// `server_version_num`.
    pub version_num: i32,
    /// `pg_control_system().system_identifier`.
    pub system_identifier: Option<i64>,
    /// Role whose rights count.
    pub user: String,
    /// Database.
    pub database: String,
    /// Whether the role is a superuser.
    pub superuser: bool,
    /// Directory of the cluster, where the role may see it and the server is on this host.
    pub local_data_directory: Option<PathBuf>,
}

impl Server {
    pub(crate) async fn look(
        client: &Client,
        settings: &ConnectionSettings,
    ) -> Result<Self, ChangeError> {
        let doing = "reading the server's identity";
        let row = row(
            client,
            doing,
            "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version_num,
                    current_user::pg_catalog.text AS user, pg_catalog.current_database()::pg_catalog.text AS database,
                    pg_catalog.pg_is_in_recovery() AS in_recovery,
                    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
                    CASE WHEN pg_catalog.pg_has_role('pg_read_all_settings', 'USAGE')
                         THEN pg_catalog.current_setting('data_directory', true) END AS data_directory",
            &[],
        )
        .await?
        .ok_or_else(|| ChangeError::Verification { what: doing.into(), found: "no row".into() })?;
        if column::<bool>(&row, "in_recovery")? {
            return Err(ChangeError::Refused {
                what: "the server".into(),
                reason: "it is a standby and read-only".into(),
                hint: "give the DSN of the primary".into(),
            });
        }
        let local = match &settings.host {
            Host::Unix(_) => true,
            Host::Tcp(host) => matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"),
        };
        let data_directory: Option<String> = column(&row, "data_directory")?;
        // EXECUTE is PUBLIC's by default, and the identity is a safeguard, not a need.
        let system_identifier = client
            .query_one(&marked("SELECT system_identifier FROM pg_catalog.pg_control_system()"), &[])
            .await
            .ok()
            .and_then(|row| row.try_get(0).ok());
        Ok(Server {
            version_num: column(&row, "version_num")?,
            system_identifier,
            user: column(&row, "user")?,
            database: column(&row, "database")?,
            superuser: column::<Option<bool>>(&row, "superuser")?.unwrap_or(false),
            local_data_directory: data_directory
                .filter(|_| local)
                .map(PathBuf::from)
                .filter(|path| path.is_dir()),
        })
    }
}

/// A relation that an index or ANALYZE is about.
#[derive(Debug)]
pub(crate) struct Relation {
    /// `relkind`.
    pub kind: String,
    /// Whether the role has the owner's rights.
    pub owned: bool,
    /// Whether the role may CREATE in the schema.
    pub may_create: bool,
    /// Owner.
    pub owner: String,
    /// Whether the role may ANALYZE it.
    pub may_analyze: bool,
}

impl Relation {
    /// Refuses where the role may not make objects on the relation called `name`: that takes the owner's rights for
    /// `what`, and CREATE in its schema for `making`.
    pub(crate) fn may_make(
        &self,
        server: &Server,
        name: &RelationName,
        what: &str,
        making: &str,
    ) -> Result<(), ChangeError> {
        if !self.owned {
            return Err(ChangeError::MissingPrivilege {
                what: format!("{what} takes the rights of the owner of {name}"),
                grant: grant_owner(&self.owner, &server.user),
            });
        }
        if !self.may_create {
            return Err(ChangeError::MissingPrivilege {
                what: format!("{making} takes CREATE on schema {}", name.schema),
                grant: format!(
                    "GRANT CREATE ON SCHEMA {} TO {}",
                    pgassay_sql::quote_identifier(&name.schema),
                    pgassay_sql::quote_identifier(&server.user)
                ),
            });
        }
        Ok(())
    }
}

/// The relation of that name; an error where there is none any more.
pub(crate) async fn relation(
    client: &Client,
    server: &Server,
    name: &RelationName,
) -> Result<Relation, ChangeError> {
    // MAINTAIN is a privilege from 17 on.
    let analyze = if server.version_num >= 170_000 {
        "OR pg_catalog.has_table_privilege(c.oid, 'MAINTAIN')"
    } else {
        ""
    };
    let sql = format!(
        "SELECT c.relkind::pg_catalog.text AS kind, pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text AS owner,
                pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned,
                pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS may_create,
                (pg_catalog.pg_has_role(c.relowner, 'USAGE')
                 OR pg_catalog.pg_has_role((SELECT d.datdba FROM pg_catalog.pg_database d
                      WHERE d.datname = pg_catalog.current_database()), 'USAGE') {analyze}) AS may_analyze
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2"
    );
    let Some(row) =
        row(client, &format!("looking up {name}"), &sql, &[&name.schema, &name.name]).await?
    else {
        return Err(ChangeError::Stale {
            what: name.to_string(),
            expected: "a table".into(),
            found: "no such relation".into(),
        });
    };
    Ok(Relation {
        kind: column(&row, "kind")?,
        owned: column(&row, "owned")?,
        may_create: column(&row, "may_create")?,
        owner: column(&row, "owner")?,
        may_analyze: column(&row, "may_analyze")?,
    })
}

/// An index as the catalog shows it, with all that speaks against dropping it.
#[derive(Debug)]
pub(crate) struct FoundIndex {
    /// `relkind`: `i`, `I`; anything else is not an index and only holds the name.
    pub kind: String,
    /// Its relation; None where the name belongs to something that is no index.
    pub relation: Option<RelationName>,
    /// `pg_get_indexdef`.
    pub ddl: String,
    /// `indisvalid and indisready`.
    pub valid: bool,
    /// `indisunique`.
    pub unique: bool,
    /// Access method.
    pub method: String,
    /// Columns in order, NULL for an expression: keys first, then INCLUDE.
    pub columns: Vec<Option<String>>,
    /// How many of them are keys.
    pub keys: i32,
    /// Whether it is partial.
    pub partial: bool,
    /// Why an undo by its definition would not bring it back exactly, or why it must not go.
    pub bound_by: Vec<String>,
}

pub(crate) async fn index(
    client: &Client,
    schema: &str,
    name: &str,
) -> Result<Option<FoundIndex>, ChangeError> {
    let Some(row) = row(
        client,
        &format!("looking up index {schema}.{name}"),
        "SELECT c.relkind::pg_catalog.text AS kind, tn.nspname::pg_catalog.text AS relation_schema,
                t.relname::pg_catalog.text AS relation,
                coalesce(pg_catalog.pg_get_indexdef(i.indexrelid), '') AS ddl,
                coalesce(i.indisvalid AND i.indisready, false) AS valid,
                coalesce(i.indisunique, false) AS unique, coalesce(am.amname::pg_catalog.text, '') AS method,
                coalesce(i.indnkeyatts::pg_catalog.int4, 0) AS keys, i.indpred IS NOT NULL AS partial,
                ARRAY(SELECT a.attname::pg_catalog.text
                      FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
                      LEFT JOIN pg_catalog.pg_attribute a
                        ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
                      ORDER BY k.place) AS columns,
                pg_catalog.array_remove(ARRAY[
                  CASE WHEN i.indisunique THEN 'it is unique' END,
                  CASE WHEN i.indisprimary THEN 'it is the primary key' END,
                  (SELECT pg_catalog.string_agg('constraint ' || pg_catalog.quote_ident(x.conname) || ' rests on it', ', ')
                     FROM pg_catalog.pg_constraint x WHERE x.conindid = i.indexrelid),
                  CASE WHEN i.indisreplident THEN 'it is the replica identity' END,
                  CASE WHEN i.indisclustered THEN 'the relation is clustered on it' END,
                  CASE WHEN c.reltablespace <> 0 THEN 'it lies in a tablespace of its own' END,
                  CASE WHEN c.relispartition OR c.relkind = 'I' THEN 'it belongs to a partitioned index' END,
                  CASE WHEN pg_catalog.obj_description(i.indexrelid, 'pg_class') IS NOT NULL THEN 'it has a comment' END,
                  CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                       WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                         AND d.refobjid = i.indexrelid) THEN 'other objects depend on it' END
                ], NULL) AS bound_by
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
         LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
         LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
         LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
         WHERE n.nspname = $1 AND c.relname = $2",
        &[&schema, &name],
    )
    .await?
    else {
        return Ok(None);
    };
    let relation = match (column(&row, "relation_schema")?, column(&row, "relation")?) {
        (Some(schema), Some(name)) => Some(RelationName { schema, name }),
        _ => None,
    };
    Ok(Some(FoundIndex {
        kind: column(&row, "kind")?,
        relation,
        ddl: column(&row, "ddl")?,
        valid: column(&row, "valid")?,
        unique: column(&row, "unique")?,
        method: column(&row, "method")?,
        columns: column(&row, "columns")?,
        keys: column(&row, "keys")?,
        partial: column(&row, "partial")?,
        bound_by: column(&row, "bound_by")?,
    }))
}

/// The statement that lets a role act as the owner of a relation. It gives all that the owner may, which is
/// everything where the owner is a superuser: so the other way is named too.
pub(crate) fn grant_owner(owner: &str, user: &str) -> String {
    let owner = pgassay_sql::quote_identifier(owner);
    format!(
        "GRANT {owner} TO {} -- or connect as {owner}, which gives no rights away",
        pgassay_sql::quote_identifier(user)
    )
}
