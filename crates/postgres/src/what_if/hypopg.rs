//! Hypothetical indexes by HypoPG: in this session's backend only, gone with it, and never in the catalog.

use super::words;
use crate::counters::extension;
use crate::{PostgresError, Session};
use pgassay_model::index::IndexDefinition;
use pgassay_model::what_if::WhatIfError;
use pgassay_sql::{index_ddl, quote_identifier};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::types::Type;

const ENGINE: &str = "hypopg";
const DOING: &str = "asking HypoPG";
/// `hypopg_hide_index` came with 1.4.
const HIDES: (u32, u32) = (1, 4);
/// HypoPG 1.3.1 has 2,828 numbers for hypothetical indexes (measured) until `hypopg.use_real_oids`.
const MOST: usize = 1_000;

/// A hypothetical index that exists in the session.
struct Existing {
    oid: u32,
    /// Name by which plans call it, e.g. `<13571>btree_users_email`.
    hypothetical_name: String,
    /// Name in its definition.
    name: String,
    /// Its relation, as `schema.name`.
    relation: String,
}

/// The extension, and what it holds in this session.
pub(super) struct Hypopg {
    /// Its schema, quoted.
    schema: String,
    version: (u32, u32),
    existing: BTreeMap<String, Existing>,
    hidden: BTreeSet<u32>,
}

impl Hypopg {
    /// The extension where it is installed and this role may use it.
    pub(super) async fn find(session: &Session) -> Result<Option<Hypopg>, PostgresError> {
        let reading = session.read(DOING).await?;
        let found = extension(&reading, "hypopg").await?;
        let hypopg = found.map(|(schema, version)| Hypopg {
            schema: quote_identifier(&schema),
            version,
            existing: BTreeMap::new(),
            hidden: BTreeSet::new(),
        });
        if let Some(hypopg) = &hypopg {
            let sql = format!("SELECT {}.hypopg_reset() IS NULL /* pgassay */", hypopg.schema);
            reading.rows(&sql, &[]).await?;
        }
        reading.end().await?;
        Ok(hypopg)
    }

    /// Makes exactly these indexes exist on the relations that matter (None: on all), keeping those that do
    /// already and those elsewhere, and returns the names of all by the names that plans use.
    pub(super) async fn arrange(
        &mut self,
        session: &Session,
        indexes: &[&IndexDefinition],
        relations: Option<&BTreeSet<String>>,
    ) -> Result<HashMap<String, String>, WhatIfError> {
        // In order, so that between indexes of equal cost the planner always meets the same one first.
        let wanted: BTreeMap<String, &IndexDefinition> =
            indexes.iter().map(|index| (index_ddl(index, false), *index)).collect();
        let relations = relations.filter(|_| self.existing.len() + wanted.len() <= MOST);
        let superfluous: Vec<String> = self
            .existing
            .iter()
            .filter(|(ddl, existing)| {
                !wanted.contains_key(*ddl)
                    && relations.is_none_or(|relations| relations.contains(&existing.relation))
            })
            .map(|(ddl, _)| ddl.clone())
            .collect();
        let gone: Vec<Existing> =
            superfluous.iter().filter_map(|ddl| self.existing.remove(ddl)).collect();
        if !gone.is_empty() {
            let oids: Vec<u32> = gone.iter().map(|existing| existing.oid).collect();
            let sql = format!(
                "SELECT pg_catalog.count({}.hypopg_drop_index(o)) FROM pg_catalog.unnest($1) o /* pgassay */",
                self.schema
            );
            ask(session, &sql, &[(&oids, Type::OID_ARRAY)]).await?;
        }
        let new: Vec<(String, &IndexDefinition)> =
            wanted.into_iter().filter(|(ddl, _)| !self.existing.contains_key(ddl)).collect();
        self.create(session, new).await?;
        Ok(self
            .existing
            .values()
            .map(|existing| (existing.hypothetical_name.clone(), existing.name.clone()))
            .collect())
    }

    /// Creates several at once: one question instead of one for each.
    async fn create(
        &mut self,
        session: &Session,
        new: Vec<(String, &IndexDefinition)>,
    ) -> Result<(), WhatIfError> {
        if new.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT h.indexrelid, h.indexname::pg_catalog.text \
             FROM pg_catalog.unnest($1) WITH ORDINALITY AS d(ddl, place), \
             LATERAL {}.hypopg_create_index(d.ddl) h ORDER BY d.place /* pgassay */",
            self.schema
        );
        let texts: Vec<&str> = new.iter().map(|(ddl, _)| ddl.as_str()).collect();
        let rows = match ask(session, &sql, &[(&texts, Type::TEXT_ARRAY)]).await {
            Ok(rows) => rows,
            Err(error) => {
                // Those before the one it refuses exist all the same, and it is not known under which names.
                self.existing.clear();
                let sql = format!("SELECT {}.hypopg_reset() IS NULL /* pgassay */", self.schema);
                ask(session, &sql, &[]).await?;
                return Err(error);
            }
        };
        for ((ddl, index), row) in new.iter().zip(&rows) {
            let created = row.try_get(0).ok().zip(row.try_get(1).ok());
            let Some((oid, hypothetical_name)) = created else { break };
            let existing = Existing {
                oid,
                hypothetical_name,
                name: index.name.clone(),
                relation: index.relation.to_string(),
            };
            self.existing.insert(ddl.clone(), existing);
        }
        match new.iter().find(|(ddl, _)| !self.existing.contains_key(ddl)) {
            Some((ddl, _)) => Err(unsupported(format!("it did not create {ddl}"))),
            None => Ok(()),
        }
    }

    /// Hides exactly these existing indexes from the planner.
    pub(super) async fn hide(
        &mut self,
        session: &Session,
        oids: BTreeSet<u32>,
    ) -> Result<(), WhatIfError> {
        if oids == self.hidden {
            return Ok(());
        }
        if self.version < HIDES {
            return Err(unsupported(format!(
                "hiding an index takes HypoPG 1.4, and {}.{} is installed",
                self.version.0, self.version.1
            )));
        }
        let unhide =
            format!("SELECT {}.hypopg_unhide_all_indexes() IS NULL /* pgassay */", self.schema);
        ask(session, &unhide, &[]).await?;
        self.hidden.clear();
        let hide = format!("SELECT {}.hypopg_hide_index($1) /* pgassay */", self.schema);
        for oid in oids {
            ask(session, &hide, &[(&oid, Type::OID)]).await?;
            self.hidden.insert(oid);
        }
        Ok(())
    }
}

async fn ask(
    session: &Session,
    sql: &str,
    parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
) -> Result<Vec<tokio_postgres::Row>, WhatIfError> {
    session
        .client()
        .query_typed(sql, parameters)
        .await
        .map_err(|error| unsupported(words(&PostgresError::query(DOING, &error))))
}

fn unsupported(reason: String) -> WhatIfError {
    WhatIfError::Unsupported { engine: ENGINE, reason }
}
