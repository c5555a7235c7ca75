//! Candidate indexes: really created, on a relation cut to the few rows it has, then made as long and as high as
//! they would be, and off until asked for.

use crate::ShadowError;
use crate::build::Classes;
use crate::files::Files;
use crate::height;
use crate::load::{broken, refusal};
use crate::pages::{PAGE, raise_btree, widen_brin};
use crate::read::field;
use crate::server::Server;
use pgassay_model::index::IndexDefinition;
use pgassay_postgres::Session;
use pgassay_sql::index_ddl;
use std::collections::HashMap;
use tokio_postgres::types::Type;

const DOING: &str = "creating a candidate index";
const HEAPS: &str = include_str!("sql/candidate_heaps.130000.sql");
const NEW_INDEXES: &str = include_str!("sql/new_indexes.130000.sql");
/// Pages of a new index that are kept when its file is written anew.
const KEPT_PAGES: u64 = 64;
/// Blocks of one segment of a file.
const SEGMENT: u64 = 131_072;

/// An index of the shadow that is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// It, and on a partitioned table those of the partitions.
    pub(crate) oids: Vec<u32>,
    /// Their names, as plans call them.
    pub(crate) names: Vec<String>,
}

/// What a candidate would be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    /// Pages; of a partitioned index those of all partitions.
    pub(crate) pages: u64,
    /// Entries.
    pub(crate) rows: f64,
    /// Whether another index tells the ends of the leading key: this one then has to hold the same rows, else it
    /// must hold none, so that the planner falls back to the histogram as it would before the index exists.
    pub(crate) has_ends: bool,
}

/// Makes candidates, one at a time.
#[derive(Debug)]
pub(crate) struct Maker {
    files: Files,
    session: Session,
    /// Pages of each heap that hold rows at the ends of indexes, by OID.
    row_pages: HashMap<u32, u64>,
    made: u64,
}

/// A heap while its file is cut.
struct Heap {
    oid: u32,
    relpages: i32,
    reltuples: f32,
    visible: i32,
    pages: u64,
    path: String,
}

impl Maker {
    pub(crate) fn new(files: Files, session: Session, row_pages: HashMap<u32, u64>) -> Self {
        Maker { files, session, row_pages, made: 0 }
    }

    /// Makes several on one relation, whose ends all or none of them have to hold; the inner error is the server's, who
    /// refuses one of them. While it runs, nothing must be planned: the relation is shorter than it is.
    pub(crate) async fn make(
        &mut self,
        server: &Server,
        wanted: &[(&IndexDefinition, Extent)],
    ) -> Result<Result<Vec<Candidate>, String>, ShadowError> {
        let Some((first, Extent { has_ends, .. })) = wanted.first() else {
            return Ok(Ok(Vec::new()));
        };
        let heaps = self.heaps(first).await?;
        // Sessions that have opened the later segments of a file measure it by the last one.
        let fresh = if heaps.iter().any(|heap| heap.pages > SEGMENT) {
            let session = server.session().await?;
            crate::load::prepare_making(&session).await?;
            Some(session)
        } else {
            None
        };
        let session = fresh.as_ref().unwrap_or(&self.session);
        let named: Vec<IndexDefinition> = wanted
            .iter()
            .map(|(index, _)| {
                self.made += 1;
                IndexDefinition { name: format!("pgassay_{}", self.made), ..(*index).clone() }
            })
            .collect();
        let mut cuts = Vec::with_capacity(heaps.len());
        for heap in &heaps {
            let rows = self.row_pages.get(&heap.oid).copied().unwrap_or(0);
            cuts.push(self.files.cut(&heap.path, if *has_ends { rows } else { 0 })?);
        }
        let created = create(session, &named).await;
        drop(cuts);
        let indexes = match created? {
            Ok(indexes) => indexes,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut classes = Classes::default();
        for heap in &heaps {
            // CREATE INDEX counted what it found.
            classes.push(heap.oid, heap.relpages, heap.reltuples, heap.visible, None);
        }
        let all: f64 = heaps.iter().map(|heap| f64::from(heap.reltuples.max(0.0))).sum();
        let mut candidates = Vec::with_capacity(wanted.len());
        for (named, (index, extent)) in named.iter().zip(wanted) {
            let mut candidate = Candidate { oids: Vec::new(), names: Vec::new() };
            for new in indexes.iter().filter(|new| new.root == named.name) {
                candidate.oids.push(new.oid);
                candidate.names.push(new.name.clone());
                let Some(path) = &new.path else { continue };
                let Some(heap) = heaps.iter().find(|heap| heap.oid == new.heap) else { continue };
                let share = if all > 0.0 {
                    f64::from(heap.reltuples.max(0.0)) / all
                } else {
                    1.0 / heaps.len() as f64
                };
                let pages = ((extent.pages as f64 * share).ceil() as u64).max(1);
                let rows = (extent.rows * share) as f32;
                let node = lengthen(&mut self.files, path, index, pages, rows, heap.pages)?;
                classes.push(new.oid, i32::try_from(pages).unwrap_or(i32::MAX), rows, 0, node);
            }
            candidates.push(candidate);
        }
        classes.set(session).await?;
        Ok(Ok(candidates))
    }

    async fn heaps(&self, index: &IndexDefinition) -> Result<Vec<Heap>, ShadowError> {
        let rows = self
            .session
            .client()
            .query_typed(
                HEAPS,
                &[(&index.relation.schema, Type::TEXT), (&index.relation.name, Type::TEXT)],
            )
            .await
            .map_err(|error| broken(DOING, &error))?;
        rows.iter()
            .map(|row| {
                Ok(Heap {
                    oid: field(row, "oid")?,
                    relpages: field(row, "relpages")?,
                    reltuples: field(row, "reltuples")?,
                    visible: field(row, "relallvisible")?,
                    pages: u64::try_from(field::<i64>(row, "pages")?).unwrap_or(0),
                    path: field(row, "path")?,
                })
            })
            .collect()
    }
}

/// Makes a new index as long as it would be, and a B-tree as high; the number of its new file, where its first
/// pages had to change.
fn lengthen(
    files: &mut Files,
    path: &str,
    index: &IndexDefinition,
    pages: u64,
    rows: f32,
    heap_pages: u64,
) -> Result<Option<u32>, ShadowError> {
    let contents = match index.method.as_str() {
        "btree" => {
            let height = height::of_btree(pages, rows);
            if height == 0 {
                None
            } else {
                raise_btree(files.first_pages(path, KEPT_PAGES)?, height, pages)
            }
        }
        "brin" => widen_brin(files.first_pages(path, KEPT_PAGES)?, heap_pages),
        _ => None,
    };
    match contents {
        Some(contents) => {
            let pages = pages.max((contents.len() / PAGE) as u64);
            Ok(Some(files.write_new(path, &contents, pages)?))
        }
        None => files.extend(path, pages).map(|()| None),
    }
}

/// An index as created.
struct NewIndex {
    /// The name it was created by; of a partition's index the partitioned one's.
    root: String,
    oid: u32,
    heap: u32,
    name: String,
    path: Option<String>,
}

/// Creates them, off from the moment others see them.
async fn create(
    session: &Session,
    indexes: &[IndexDefinition],
) -> Result<Result<Vec<NewIndex>, String>, ShadowError> {
    let client = session.client();
    let each: Vec<String> = indexes.iter().map(|index| index_ddl(index, false)).collect();
    let ddl = format!("BEGIN; {} /* pgassay */", each.join("; "));
    if let Err(error) = client.batch_execute(&ddl).await {
        let refused = refusal(DOING, &error)?;
        client
            .batch_execute("ROLLBACK /* pgassay */")
            .await
            .map_err(|error| broken(DOING, &error))?;
        return Ok(Err(refused));
    }
    let schema = indexes.first().map_or("", |index| index.relation.schema.as_str());
    let names: Vec<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
    let rows = client
        .query_typed(NEW_INDEXES, &[(&schema, Type::TEXT), (&names, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| broken(DOING, &error))?;
    client.batch_execute("COMMIT /* pgassay */").await.map_err(|error| broken(DOING, &error))?;
    let indexes: Result<Vec<NewIndex>, ShadowError> = rows
        .iter()
        .map(|row| {
            Ok(NewIndex {
                root: field(row, "root")?,
                oid: field(row, "oid")?,
                heap: field(row, "heap")?,
                name: field(row, "name")?,
                path: field(row, "path")?,
            })
        })
        .collect();
    indexes.map(Ok)
}
