//! Builds a shadow of a blueprint: schema, rows at the ends of indexes, sizes, statistics.

use crate::ShadowError;
use crate::blueprint::{Blueprint, EndpointRow, Lacking, Size};
use crate::candidates::Maker;
use crate::files::Files;
use crate::load::{self, broken};
use crate::pages::{raise_btree, replace_gin_metapage, widen_brin};
use crate::read::field;
use crate::server::Server;
use crate::{figures, height};
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::Session;
use std::collections::HashMap;
use std::path::PathBuf;
use tokio::sync::RwLock;
use tokio_postgres::types::Type;

const RELATIONS: &str = include_str!("sql/shadow_relations.130000.sql");
const SET_CLASS: &str = include_str!("sql/set_class.130000.sql");
/// Pages of an index that are kept when its file is written anew: those that hold rows at its ends.
const KEPT_PAGES: u64 = 64;

/// How a shadow is built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// Where PostgreSQL's programs are looked for first; None: on PATH and in the usual places.
    pub postgres_bin: Option<PathBuf>,
}

/// A running server that plans as the source did; removed when dropped.
#[derive(Debug)]
pub struct Shadow {
    pub(crate) server: Server,
    /// Whoever plans reads it, so that nothing is planned while a candidate is made.
    pub(crate) maker: RwLock<Maker>,
    lacking: Vec<Lacking>,
}

impl Shadow {
    /// Builds it. What could not be reproduced is told by [`Shadow::lacking`].
    pub async fn build(
        blueprint: &Blueprint,
        options: &BuildOptions,
    ) -> Result<Shadow, ShadowError> {
        if blueprint.database.block_size != 8192 {
            return Err(ShadowError::BlockSize(blueprint.database.block_size));
        }
        let (major, bin) = (blueprint.version_num / 10_000, options.postgres_bin.clone());
        let server = tokio::task::spawn_blocking(move || Server::start(bin.as_deref(), major))
            .await
            .map_err(|error| ShadowError::Unexpected {
                doing: "starting the shadow server",
                message: error.to_string(),
            })??;
        let note = server.create_database(&blueprint.database).await?;
        let refused = server.set(&blueprint.settings).await?;
        let session = server.session().await?;
        load::prepare(&session).await?;
        let mut lacking: Vec<Lacking> = note
            .into_iter()
            .map(|why| Lacking::general("the collation", why))
            .chain(refused.into_iter().map(|name| {
                let why = "the shadow server refuses its value";
                Lacking::general(format!("the parameter {name}"), why)
            }))
            .collect();
        lacking.extend(load::define(&session, &blueprint.beginnings).await?);
        load::number_enums(&session, &blueprint.enums).await?;
        lacking.extend(load::define(&session, &blueprint.definitions).await?);
        let ends = blueprint.endpoints.iter().filter(|row| {
            !lacking.iter().any(|one| one.grave && one.relation.as_ref() == Some(&row.relation))
        });
        let ends: Vec<&EndpointRow> = ends.collect();
        lacking.extend(load::insert(&session, &ends).await?);
        lacking.extend(load::define(&session, &blueprint.views).await?);
        let mut files = Files::new(server.data_directory());
        let (missing, row_pages) = resize(&session, &mut files, &blueprint.sizes).await?;
        lacking.extend(missing);
        lacking.extend(
            figures::put(
                &session,
                &blueprint.statistics,
                &blueprint.extended,
                blueprint.version_num,
            )
            .await?,
        );
        load::spread(&session, blueprint, &mut lacking).await?;
        let mut all = blueprint.lacking.clone();
        all.extend(lacking);
        let making = server.session().await?;
        load::prepare_making(&making).await?;
        let maker = RwLock::new(Maker::new(files, making, row_pages));
        Ok(Shadow { server, maker, lacking: all })
    }

    /// A session on the shadow, with the source's parameters in force.
    pub async fn session(&self) -> Result<Session, ShadowError> {
        self.server.session().await
    }

    /// Where its server's files lie, until it is dropped.
    pub fn data_directory(&self) -> PathBuf {
        self.server.data_directory()
    }

    /// What plans may differ for want of.
    pub fn lacking(&self) -> &[Lacking] {
        &self.lacking
    }

    /// Why nothing can be said of plans over a relation or view; None: something can.
    pub fn unable_for(&self, relation: &RelationName) -> Option<String> {
        self.lack_of(relation, true)
    }

    /// Why estimates over a relation or view are less precise than the source's; None: they are as precise.
    pub fn imprecise_for(&self, relation: &RelationName) -> Option<String> {
        self.lack_of(relation, false)
    }

    fn lack_of(&self, relation: &RelationName, grave: bool) -> Option<String> {
        self.lacking
            .iter()
            .find(|lacking| lacking.grave == grave && lacking.relation.as_ref() == Some(relation))
            .map(|lacking| format!("{}: {}", lacking.what, lacking.why))
    }

    /// The relation or view that a statement's text names as `name` or `schema.name`, where it lacks something.
    fn lacking_named(&self, name: &str) -> Option<&RelationName> {
        self.lacking.iter().filter_map(|lacking| lacking.relation.as_ref()).find(|relation| {
            relation.name == name
                || name.split_once('.') == Some((&relation.schema, &relation.name))
        })
    }

    /// What relations and views of a statement lack, graver things first.
    pub fn lack_of_statement(&self, snapshot: &Snapshot, sql: &str) -> Option<StatementLack> {
        let shape = pgassay_sql::shape(sql, snapshot).ok()?;
        // Views that could not be looked through are known by their names only.
        let unknown = shape.unknown_relations.iter().filter_map(|name| self.lacking_named(name));
        let views = shape.views.iter().chain(unknown);
        let named: Vec<&RelationName> =
            shape.relations.iter().map(|used| &used.name).chain(views).collect();
        [true, false].into_iter().find_map(|grave| {
            named.iter().find_map(|relation| {
                let why = self.lack_of(relation, grave)?;
                Some(StatementLack { relation: (*relation).clone(), why, grave })
            })
        })
    }
}

/// What a statement's plans lack on a shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLack {
    /// A relation or view that it names.
    pub relation: RelationName,
    /// What that lacks, and why.
    pub why: String,
    /// Whether nothing can be said of the plans; else estimates are less precise.
    pub grave: bool,
}

/// A relation or index of the shadow.
struct Made {
    oid: u32,
    path: Option<String>,
    pages: u64,
}

/// Makes files as long as the source's, and `pg_class` say what it said there. Also returns, by OID, how many pages
/// of each heap hold rows.
async fn resize(
    session: &Session,
    files: &mut Files,
    sizes: &[Size],
) -> Result<(Vec<Lacking>, HashMap<u32, u64>), ShadowError> {
    let doing = "sizing relations";
    let client = session.client();
    // What is in the server's buffers only is not in the files yet.
    client
        .batch_execute("CHECKPOINT /* pgassay */")
        .await
        .map_err(|error| broken(doing, &error))?;
    let rows = client.query_typed(RELATIONS, &[]).await.map_err(|error| broken(doing, &error))?;
    let mut made = HashMap::new();
    for row in &rows {
        let name: (String, String) = (field(row, "schema")?, field(row, "name")?);
        let pages = u64::try_from(field::<i64>(row, "pages")?).unwrap_or(0);
        made.insert(name, Made { oid: field(row, "oid")?, path: field(row, "path")?, pages });
    }
    let heap_pages: HashMap<(&str, &str), u64> =
        sizes.iter().map(|size| ((size.schema.as_str(), size.name.as_str()), size.pages)).collect();
    let mut lacking = Vec::new();
    let mut row_pages = HashMap::new();
    let mut classes = Classes::default();
    for size in sizes {
        let Some(made) = made.get(&(size.schema.clone(), size.name.clone())) else {
            // An invalid index is not defined, and none to the planner; a relation that is missing is known.
            continue;
        };
        if size.kind != "i" {
            row_pages.insert(made.oid, made.pages);
        }
        let mut node = None;
        if let Some(path) = &made.path {
            let heap = size
                .of_relation
                .as_ref()
                .and_then(|name| heap_pages.get(&(size.schema.as_str(), name.as_str())))
                .copied()
                .unwrap_or(0);
            match contents(files, path, size, heap)? {
                Some(contents) => node = Some(files.write_new(path, &contents, size.pages)?),
                None => files.extend(path, size.pages)?,
            }
            if made.pages > size.pages && size.kind != "i" {
                lacking.push(Lacking::slight(
                    RelationName { schema: size.schema.clone(), name: size.name.clone() },
                    "its size",
                    "it has fewer pages than the rows at the ends of its indexes take",
                ));
            }
        }
        classes.push(made.oid, size.relpages, size.reltuples, size.relallvisible, node);
    }
    classes.set(session).await?;
    Ok((lacking, row_pages))
}

/// The first pages of an index of full size; None: the planner does not look into it.
fn contents(
    files: &Files,
    path: &str,
    size: &Size,
    heap_pages: u64,
) -> Result<Option<Vec<u8>>, ShadowError> {
    if size.kind != "i" {
        return Ok(None);
    }
    let first = |most| files.first_pages(path, most);
    Ok(match size.method.as_deref() {
        Some("btree") => {
            let height =
                size.height.unwrap_or_else(|| height::of_btree(size.pages, size.reltuples));
            if height == 0 { None } else { raise_btree(first(KEPT_PAGES)?, height, size.pages) }
        }
        Some("brin") => widen_brin(first(KEPT_PAGES)?, heap_pages),
        Some("gin") => match &size.first_page {
            Some(page) => match bytes(page) {
                Some(page) => replace_gin_metapage(first(KEPT_PAGES)?, &page),
                None => None,
            },
            None => None,
        },
        _ => None,
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len() / 2).map(|n| u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()).collect()
}

/// Rows of `pg_class` to set, column by column.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    oids: Vec<u32>,
    pages: Vec<i32>,
    rows: Vec<f32>,
    visible: Vec<i32>,
    /// A new file's number, or 0 for the old one.
    nodes: Vec<u32>,
}

impl Classes {
    pub(crate) fn push(
        &mut self,
        oid: u32,
        pages: i32,
        rows: f32,
        visible: i32,
        node: Option<u32>,
    ) {
        self.oids.push(oid);
        self.pages.push(pages);
        self.rows.push(rows);
        self.visible.push(visible);
        self.nodes.push(node.unwrap_or(0));
    }

    pub(crate) async fn set(&self, session: &Session) -> Result<(), ShadowError> {
        session
            .client()
            .query_typed(
                SET_CLASS,
                &[
                    (&self.oids, Type::OID_ARRAY),
                    (&self.pages, Type::INT4_ARRAY),
                    (&self.rows, Type::FLOAT4_ARRAY),
                    (&self.visible, Type::INT4_ARRAY),
                    (&self.nodes, Type::OID_ARRAY),
                ],
            )
            .await
            .map_err(|error| broken("setting pg_class", &error))?;
        Ok(())
    }
}
