//! Costs of reading one relation, by the planner's own formulas on the snapshot's statistics.
//!
//! Sources: `src/backend/optimizer/path/costsize.c` (`cost_seqscan`, `cost_index`, `cost_bitmap_heap_scan`,
//! `index_pages_fetched` after Mackert and Lohman, `cost_sort`) and `btcostestimate` in
//! `src/backend/utils/adt/selfuncs.c`. Parallel plans and CPU of expressions are left out.

use super::cover::normal;
use super::wanted::{constant_condition, is_on};
use super::{brin, opclasses, selectivity, size};
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{Operator, Predicate, StatementKind, StatementShape, Subject};
use std::cell::RefCell;
use std::collections::HashMap;

/// The planner's cost constants (manual, section 19.7.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    pub seq_page: f64,
    pub random_page: f64,
    pub tuple: f64,
    pub index_tuple: f64,
    pub operator: f64,
}

impl Costs {
    /// The server's, or PostgreSQL's defaults.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let number = |name: &str, default: f64| {
            snapshot.parameter(name).and_then(|parameter| parameter.number()).unwrap_or(default)
        };
        Costs {
            seq_page: number("seq_page_cost", 1.0),
            random_page: number("random_page_cost", 4.0),
            tuple: number("cpu_tuple_cost", 0.01),
            index_tuple: number("cpu_index_tuple_cost", 0.005),
            operator: number("cpu_operator_cost", 0.0025),
        }
    }

    /// Descent of a B-tree: comparisons, and 50 operators for each page on the way (DEFAULT_PAGE_CPU_MULTIPLIER).
    pub(super) fn descent(&self, entries: f64, pages: f64) -> f64 {
        // About 300 children for each inner page.
        let height = pages.max(1.0).log(300.0).ceil().max(0.0);
        self.operator * entries.max(2.0).log2().ceil() + (height + 1.0) * 50.0 * self.operator
    }

    /// `cost_sort`, in memory; with a LIMIT a heap of twice as many rows.
    pub(super) fn sort(&self, rows: f64, limit: Option<f64>) -> f64 {
        let rows = rows.max(2.0);
        let kept = limit.map_or(rows, |limit| rows.min(2.0 * limit)).max(2.0);
        2.0 * self.operator * rows * kept.log2()
    }
}

/// A way to read a relation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// Total cost, in planner units.
    pub cost: f64,
    /// Rows it returns.
    pub rows: f64,
    /// The indexes it uses.
    pub indexes: Vec<String>,
    /// Whether it returns them in the order wanted.
    pub ordered: bool,
}

/// Pages of indexes by definition, estimated once: for GIN many values have to be read.
pub(super) type Sizes = RefCell<HashMap<IndexDefinition, f64>>;

/// What is read: one mention of a relation in a statement.
pub(super) struct Reading<'a> {
    pub costs: &'a Costs,
    pub sizes: &'a Sizes,
    pub relation: &'a Relation,
    pub statement: &'a WorkloadStatement,
    pub shape: &'a StatementShape,
    pub mention: usize,
    /// Columns joined by, when each is looked up for one value of the other side.
    pub bound: &'a [&'a str],
}

impl Reading<'_> {
    /// All ways to read it with `indexes`.
    pub(super) fn paths(&self, indexes: &[&IndexDefinition]) -> Vec<Path> {
        let mut paths = vec![self.sequential()];
        paths.extend(indexes.iter().filter_map(|index| self.by_index(index)).flatten());
        paths.extend(indexes.iter().filter_map(|index| self.by_bitmap(index)));
        paths.extend(self.by_alternatives(indexes));
        paths
    }

    /// Rows found by an index for each alternative of an OR, their bitmaps united (`cost_bitmap_or_node`). Taken
    /// only where every alternative of the statement is an equality of this mention; `$n IS NULL OR …` is no
    /// choice between two indexes, since the value decides it.
    fn by_alternatives(&self, indexes: &[&IndexDefinition]) -> Option<Path> {
        let alternatives: Vec<&Predicate> =
            self.shape.predicates.iter().filter(|predicate| predicate.in_or).collect();
        let usable = alternatives.iter().all(|predicate| {
            predicate.relation == self.mention
                && matches!(predicate.operator, Operator::Equal | Operator::In)
        });
        let optional = self.statement.sql.match_indices('$').any(|(at, _)| {
            let rest = self
                .statement
                .sql
                .get(at + 1..)
                .unwrap_or_default()
                .trim_start_matches(|c: char| c.is_ascii_digit());
            rest.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("is null"))
        });
        if alternatives.len() < 2 || !usable || optional {
            return None;
        }
        let all_rows = selectivity::rows(self.relation);
        let (mut cost, mut matched, mut used) = (0.0, 0.0, Vec::new());
        for predicate in alternatives {
            let index = indexes.iter().find(|index| {
                index.predicate.is_none()
                    && index.keys.first().is_some_and(|key| is_on(key, &predicate.subject))
            })?;
            let rows = selectivity::of(self.relation, self.statement, predicate).share * all_rows;
            let pages = self.pages(index, 1.0);
            cost += self.costs.descent(all_rows, pages)
                + (rows / all_rows * pages).ceil() * self.costs.random_page
                + rows * self.costs.index_tuple;
            matched += rows;
            used.push(index.name.clone());
        }
        let pages = (self.relation.pages as f64).max(1.0);
        let fetched = pages_fetched(pages, matched);
        cost += fetched * self.costs.random_page + matched * self.costs.tuple;
        Some(Path { cost, rows: matched.max(1.0), indexes: used, ordered: false })
    }

    /// Pages of an index that holds that share of the rows.
    fn pages(&self, index: &IndexDefinition, share: f64) -> f64 {
        if index.method == "btree" {
            return size::estimate(self.relation, index, share);
        }
        if let Some(known) = self.sizes.borrow().get(index) {
            return *known;
        }
        let pages = size::estimate(self.relation, index, share);
        self.sizes.borrow_mut().insert(index.clone(), pages);
        pages
    }

    fn predicates(&self) -> impl Iterator<Item = &Predicate> {
        self.shape.predicates.iter().filter(|p| p.relation == self.mention && !p.in_or)
    }

    fn bound_share(&self, column: &str) -> Option<f64> {
        let column = Subject::Column(column.to_owned());
        Some(1.0 / selectivity::distinct(self.relation, &column).unwrap_or(200.0).max(1.0))
    }

    /// Rows that all conditions let through.
    fn rows(&self) -> f64 {
        let bound: f64 = self.bound.iter().filter_map(|column| self.bound_share(column)).product();
        let share = selectivity::together(self.relation, self.statement, self.predicates());
        (selectivity::rows(self.relation) * share * bound).max(1.0)
    }

    fn sequential(&self) -> Path {
        let rows = selectivity::rows(self.relation);
        let conditions = (self.predicates().count() + self.bound.len()) as f64;
        Path {
            cost: self.relation.pages as f64 * self.costs.seq_page
                + rows * (self.costs.tuple + conditions * self.costs.operator),
            rows: self.rows(),
            indexes: Vec::new(),
            ordered: false,
        }
    }

    /// An index scan, and a bitmap scan where the order is not wanted.
    fn by_index(&self, index: &IndexDefinition) -> Option<[Path; 2]> {
        if index.method != "btree" {
            return None;
        }
        let conditions: Vec<&str> =
            index.predicate.iter().flat_map(|text| text.split(" AND ")).collect();
        let implied = |condition: &&str| {
            self.predicates()
                .filter_map(|predicate| constant_condition(predicate, self.relation))
                .any(|known| normal(&known) == normal(condition))
        };
        if !conditions.iter().all(implied) {
            return None;
        }
        let in_predicate = |predicate: &&Predicate| {
            constant_condition(predicate, self.relation).is_some_and(|known| {
                conditions.iter().any(|condition| normal(condition) == normal(&known))
            })
        };
        let kept = selectivity::together(
            self.relation,
            self.statement,
            self.predicates().filter(in_predicate),
        );
        let (served, equal_keys) = self.served(index);
        let ordered = self.gives_order(index, equal_keys);
        let bound_keys: Vec<&str> = self
            .bound
            .iter()
            .copied()
            .filter(|column| {
                index.keys.iter().take(equal_keys).any(|key| key.column.as_deref() == Some(column))
            })
            .collect();
        let partial = index.predicate.is_some();
        if served.is_empty() && bound_keys.is_empty() && !ordered && !partial {
            return None;
        }
        let all_rows = selectivity::rows(self.relation);
        let entries = (all_rows * kept).max(1.0);
        let share =
            selectivity::together(
                self.relation,
                self.statement,
                served.iter().copied().filter(|predicate| !in_predicate(predicate)),
            ) * bound_keys.iter().filter_map(|column| self.bound_share(column)).product::<f64>();
        let matched = (entries * share).clamp(1.0, entries);
        let index_pages = self.pages(index, kept);
        let conditions = (self.predicates().count() + self.bound.len()) as f64;
        let index_cost = self.costs.descent(entries, index_pages)
            + (matched / entries * index_pages).ceil() * self.costs.random_page
            + matched * (self.costs.index_tuple + self.costs.operator);
        let cpu = matched * (self.costs.tuple + conditions * self.costs.operator);
        let pages = (self.relation.pages as f64).max(1.0);
        let hidden = if self.index_only(index) {
            1.0 - (self.relation.all_visible_pages as f64 / pages).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let fetched = pages_fetched(pages, matched);
        let worst = fetched * self.costs.random_page;
        let best = self.costs.random_page
            + ((matched / all_rows * pages).ceil() - 1.0).max(0.0) * self.costs.seq_page;
        let correlation = index
            .keys
            .first()
            .and_then(|key| self.relation.column(key.column.as_deref()?)?.statistics.as_ref()?.correlation)
            .unwrap_or(0.0)
            // btcostestimate: further keys weaken it.
            * if index.keys.len() > 1 { 0.75 } else { 1.0 };
        let heap = (worst + correlation * correlation * (best - worst)) * hidden;
        let bitmap_page = self.costs.random_page
            - (self.costs.random_page - self.costs.seq_page) * (fetched / pages).sqrt();
        let rows = self.rows();
        let name = vec![index.name.clone()];
        Some([
            Path { cost: index_cost + heap + cpu, rows, indexes: name.clone(), ordered },
            Path {
                cost: index_cost + fetched * bitmap_page + cpu + matched * self.costs.operator,
                rows,
                indexes: name,
                ordered: false,
            },
        ])
    }

    /// A bitmap scan of an index of another method than B-tree: `hashcostestimate`, `brincostestimate` and
    /// `gincostestimate` of selfuncs.c without their finer points.
    fn by_bitmap(&self, index: &IndexDefinition) -> Option<Path> {
        let first = index.keys.first().filter(|_| index.method != "btree")?;
        let finds = |key: &IndexKey, predicate: &Predicate| {
            let type_name = opclasses::type_of(self.relation, &predicate.subject);
            is_on(key, &predicate.subject)
                && opclasses::finds(index, key, &type_name, &predicate.operator)
        };
        let served: Vec<&Predicate> = self
            .predicates()
            .filter(|predicate| index.keys.iter().any(|key| finds(key, predicate)))
            .collect();
        // GIN and BRIN find rows by any key, the others have to begin with the first.
        let begins = matches!(index.method.as_str(), "gin" | "brin")
            || served.iter().any(|predicate| finds(first, predicate));
        if served.is_empty() || !begins {
            return None;
        }
        let all_rows = selectivity::rows(self.relation);
        let pages = (self.relation.pages as f64).max(1.0);
        let share = selectivity::together(self.relation, self.statement, served.iter().copied());
        let index_pages = self.pages(index, 1.0);
        let (index_cost, read, fetched) = if index.method == "brin" {
            let length = f64::from(index.pages_per_range.unwrap_or(brin::DEFAULT_RANGE)).max(1.0);
            let ranges = (pages / length).ceil();
            // The best of the columns that are compared.
            let correlation = served
                .iter()
                .filter_map(|predicate| match &predicate.subject {
                    Subject::Column(name) => brin::correlation(self.relation, name),
                    Subject::Expression(_) => None,
                })
                .fold(0.0, f64::max);
            let touched = ((ranges * share).ceil() / correlation.max(1e-10)).min(ranges);
            let cost = self.costs.seq_page
                + (index_pages - 1.0) * self.costs.random_page
                + 0.1 * self.costs.operator * touched * length;
            (cost, all_rows * touched / ranges, (pages * touched / ranges).max(1.0))
        } else {
            let read = (all_rows * share).max(1.0);
            // The way down for each condition, and the pages of the entries that match any.
            let each = |predicate: &&Predicate| {
                let found = selectivity::of(self.relation, self.statement, predicate).share;
                let entries = if index.method == "gin" { found } else { share };
                3.0 + (entries * index_pages).ceil()
            };
            let visited = if index.method == "gin" {
                served.iter().map(each).sum::<f64>()
            } else {
                served.first().map_or(3.0, each)
            };
            let cost = visited * self.costs.random_page + read * self.costs.index_tuple;
            (cost, read, pages_fetched(pages, read))
        };
        let page = self.costs.random_page
            - (self.costs.random_page - self.costs.seq_page) * (fetched / pages).sqrt();
        let conditions = (self.predicates().count() + self.bound.len()) as f64;
        Some(Path {
            cost: index_cost
                + fetched * page
                + read * (self.costs.tuple + (conditions + 1.0) * self.costs.operator),
            rows: self.rows(),
            indexes: vec![index.name.clone()],
            ordered: false,
        })
    }

    /// Conditions that the index finds rows by, and how many of its keys are bound by equality.
    fn served(&self, index: &IndexDefinition) -> (Vec<&Predicate>, usize) {
        let mut served = Vec::new();
        let mut equal_keys = 0;
        for key in &index.keys {
            let equal = self.predicates().find(|predicate| {
                is_on(key, &predicate.subject)
                    && matches!(
                        predicate.operator,
                        Operator::Equal | Operator::In | Operator::IsNull
                    )
            });
            let bound = key.column.as_deref().is_some_and(|column| self.bound.contains(&column));
            match (equal, bound) {
                (Some(predicate), _) => served.push(predicate),
                (None, true) => {}
                (None, false) => {
                    served.extend(self.predicates().filter(|predicate| {
                        is_on(key, &predicate.subject)
                            && match predicate.operator {
                                Operator::Range => key.opclass.is_none(),
                                Operator::PrefixLike | Operator::OtherLike => key.opclass.is_some(),
                                _ => false,
                            }
                    }));
                    break;
                }
            }
            equal_keys += 1;
        }
        (served, equal_keys)
    }

    /// Whether the keys after those bound by equality are the order wanted, read forwards or backwards.
    fn gives_order(&self, index: &IndexDefinition, equal_keys: usize) -> bool {
        let order = &self.shape.order;
        if order.is_empty() || order.iter().any(|key| key.relation != self.mention) {
            return false;
        }
        let keys: &[IndexKey] = index.keys.get(equal_keys..).unwrap_or_default();
        let matches = |flipped: bool| {
            order.len() <= keys.len()
                && order.iter().zip(keys).all(|(wanted, key)| {
                    is_on(key, &wanted.subject)
                        && (wanted.descending == key.descending) != flipped
                        && (wanted.nulls_first.unwrap_or(wanted.descending) == key.nulls_first)
                            != flipped
                })
        };
        matches(false) || matches(true)
    }

    fn index_only(&self, index: &IndexDefinition) -> bool {
        self.shape.kind == StatementKind::Select
            && !self.shape.writes
            && self.shape.columns_read.iter().filter(|(mention, _)| *mention == self.mention).all(
                |(_, column)| {
                    index.include.contains(column)
                        || index.keys.iter().any(|key| key.column.as_ref() == Some(column))
                },
            )
    }
}

/// Pages fetched for rows at random places (Mackert and Lohman, as in `index_pages_fetched`, with all pages cached).
pub(super) fn pages_fetched(pages: f64, rows: f64) -> f64 {
    (2.0 * pages * rows / (2.0 * pages + rows)).min(pages).max(1.0)
}
