//! Looks through views: what a view's query asks for is asked by the statement that names it, and a condition on a
//! column that the view hands on is one on the relation's.
//!
//! The planner pushes conditions into a subquery without LIMIT, set operation, DISTINCT ON or window function
//! (`subquery_is_pushdown_safe` in allpaths.c), through GROUP BY without GROUPING SETS too. Through others no condition is followed.

use super::Walk;
use super::expression::{inner, string};
use pg_query::NodeEnum;
use pg_query::protobuf::{RangeVar, SelectStmt, SetOperation};

/// Views within views that are entered; a snapshot can't hold a view of itself, a broken document can.
const DEEPEST: usize = 16;

/// A view's columns in their order, each with the column of a relation that it hands on.
#[derive(Debug, Default)]
pub(super) struct Through {
    columns: Vec<(String, Option<(usize, String)>)>,
    /// Whether rows are grouped or made distinct in it.
    grouped: bool,
    /// Whether no condition is followed through it.
    opaque: bool,
}

impl Through {
    /// Whether a column is a relation's own, and not needed for the view's rows themselves.
    pub(super) fn hands_on(&self, position: usize) -> bool {
        !self.grouped && self.columns.get(position).is_some_and(|(_, column)| column.is_some())
    }
}

/// A view as a scope sees it.
pub(super) struct Seen {
    alias: String,
    columns: Vec<(String, Option<(usize, String)>)>,
}

impl Seen {
    pub(super) fn is_named(&self, qualifier: Option<&str>) -> bool {
        qualifier.is_none_or(|qualifier| qualifier == self.alias)
    }

    /// The column of a relation behind one of the view's, None where there is none; None without such a column.
    pub(super) fn column(&self, name: &str) -> Option<Option<(usize, String)>> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column.clone())
    }

    /// Columns of relations that it hands on.
    pub(super) fn handed_on(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.columns.iter().filter_map(|(_, column)| column.clone())
    }
}

impl Walk<'_> {
    /// Enters a view; false where there is none of that name, or it can't be read.
    pub(super) fn view(&mut self, schema: Option<&str>, named: &RangeVar) -> bool {
        let Some((name, definition)) = self.catalog.view(schema, &named.relname) else {
            return false;
        };
        let Ok(parsed) = pg_query::parse(definition, 0) else { return false };
        let [statement] = parsed.protobuf.stmts.as_slice() else { return false };
        let query = statement.stmt.as_ref().and_then(|node| node.node.as_ref());
        let Some(query @ NodeEnum::SelectStmt(_)) = query else { return false };
        if self.depth >= DEEPEST {
            return false;
        }
        if !self.shape.views.contains(&name) {
            self.shape.views.push(name);
        }
        let before = self.shape.relations.len();
        // Nothing of the statement around it is visible within.
        let scopes = std::mem::take(&mut self.scopes);
        let named_outside = std::mem::take(&mut self.named);
        self.depth += 1;
        // As pg_get_viewdef writes a call of a window function; in a string it does no harm.
        let opaque = definition.contains(" OVER ");
        self.through = Some(Through { opaque, ..Through::default() });
        self.query(query);
        self.depth -= 1;
        let Through { mut columns, grouped, .. } = self.through.take().unwrap_or_default();
        self.scopes = scopes;
        self.named = named_outside;
        if grouped {
            self.grouped.extend(before..self.shape.relations.len());
        }
        let alias = named.alias.as_ref();
        let renamed = alias.iter().flat_map(|alias| &alias.colnames).filter_map(string);
        for ((column, _), other) in columns.iter_mut().zip(renamed) {
            *column = other.to_owned();
        }
        let alias = alias.map_or_else(|| named.relname.clone(), |alias| alias.aliasname.clone());
        if let Some(scope) = self.scopes.last_mut() {
            scope.views.push(Seen { alias, columns });
        }
        true
    }

    /// The columns of the outermost SELECT of a view, its FROM clause read and its scope open.
    pub(super) fn columns_of_view(&self, through: Through, select: &SelectStmt) -> Through {
        let opaque = through.opaque || !lets_conditions_through(select);
        let mut columns = Vec::new();
        let mut first = select;
        while let Some(left) = &first.larg {
            first = left;
        }
        for node in &first.target_list {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
            let (name, column) = match inner(&target.val) {
                Some(NodeEnum::ColumnRef(reference)) => {
                    let own = reference.fields.last().and_then(string).unwrap_or_default();
                    (own, self.resolve(reference))
                }
                _ => ("", None),
            };
            let name = if target.name.is_empty() { name } else { &target.name };
            columns.push((name.to_owned(), column.filter(|_| !opaque)));
        }
        let grouped = !select.group_clause.is_empty()
            || !select.distinct_clause.is_empty()
            || select.having_clause.is_some();
        Through { columns, grouped, opaque }
    }
}

/// Whether a condition on a result of a query is one on its relations.
fn lets_conditions_through(select: &SelectStmt) -> bool {
    // DISTINCT without ON is a list of one empty node.
    let distinct_on = select.distinct_clause.iter().any(|node| node.node.is_some());
    let sets =
        select.group_clause.iter().any(|node| matches!(node.node, Some(NodeEnum::GroupingSet(_))));
    select.op == SetOperation::SetopNone as i32
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && !distinct_on
        && !sets
}
