//! Walks a parse tree and collects the statement's shape, scope by scope.

use crate::shape::*;
use expression::{by_position, inner, parameter, string};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    self, ColumnRef, Node, RangeVar, SelectStmt, SortByDir, SortByNulls, WithClause,
};
use std::collections::HashSet;

type Boxed = Option<Box<Node>>;

mod condition;
mod expression;
mod view;

pub(crate) use condition::commutator;
pub(crate) use expression::expression_text;

pub(crate) struct Walk<'a> {
    catalog: &'a dyn Catalog,
    shape: StatementShape,
    /// Columns of each mention of a relation.
    columns: Vec<Vec<String>>,
    /// What is visible in each open scope, the innermost last.
    scopes: Vec<Scope>,
    /// Names of common table expressions, which are no relations.
    named: HashSet<String>,
    /// What is known of the view that is being looked through; None: none is.
    through: Option<view::Through>,
    /// How many views lie around what is being read.
    depth: usize,
    /// Relations of views whose rows are grouped or made distinct before what names the view sees them.
    grouped: HashSet<usize>,
}

/// What names can mean.
#[derive(Default)]
struct Scope {
    /// Mentions of relations.
    relations: Vec<usize>,
    views: Vec<view::Seen>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(catalog: &'a dyn Catalog) -> Self {
        Walk {
            catalog,
            shape: StatementShape::default(),
            columns: Vec::new(),
            scopes: Vec::new(),
            named: HashSet::new(),
            through: None,
            depth: 0,
            grouped: HashSet::new(),
        }
    }

    pub(crate) fn finish(mut self) -> StatementShape {
        let mut seen = HashSet::new();
        self.shape.columns_read.retain(|column| seen.insert(column.clone()));
        self.shape
    }

    pub(crate) fn statement(&mut self, node: &NodeEnum) {
        self.shape.kind = match node {
            NodeEnum::SelectStmt(_) => StatementKind::Select,
            NodeEnum::InsertStmt(_) => StatementKind::Insert,
            NodeEnum::UpdateStmt(_) => StatementKind::Update,
            NodeEnum::DeleteStmt(_) => StatementKind::Delete,
            NodeEnum::MergeStmt(_) => StatementKind::Merge,
            _ => StatementKind::Utility,
        };
        self.query(node);
    }

    fn query(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select, None),
            NodeEnum::InsertStmt(insert) => {
                self.shape.writes = true;
                self.with(insert.with_clause.as_ref());
                self.scopes.push(Scope::default());
                let target =
                    insert.relation.as_ref().and_then(|relation| self.range_var(relation, true));
                let columns: Vec<String> = if insert.cols.is_empty() {
                    target.and_then(|target| self.columns.get(target)).cloned().unwrap_or_default()
                } else {
                    insert
                        .cols
                        .iter()
                        .filter_map(|node| match node.node.as_ref()? {
                            NodeEnum::ResTarget(target) => Some(target.name.clone()),
                            _ => None,
                        })
                        .collect()
                };
                if let Some(NodeEnum::SelectStmt(select)) = inner(&insert.select_stmt) {
                    let into = target.map(|target| (target, columns.as_slice()));
                    self.select(select, into);
                }
                if let Some(conflict) = &insert.on_conflict_clause {
                    self.assignments(&conflict.target_list, target);
                    self.condition(inner(&conflict.where_clause), false);
                }
                self.returning(insert.returning_clause.as_ref());
                self.scopes.pop();
            }
            NodeEnum::UpdateStmt(update) => {
                self.shape.writes = true;
                self.with(update.with_clause.as_ref());
                self.scopes.push(Scope::default());
                let target =
                    update.relation.as_ref().and_then(|relation| self.range_var(relation, true));
                self.from(&update.from_clause);
                self.assignments(&update.target_list, target);
                self.condition(inner(&update.where_clause), false);
                self.returning(update.returning_clause.as_ref());
                self.scopes.pop();
            }
            NodeEnum::DeleteStmt(delete) => {
                self.shape.writes = true;
                self.with(delete.with_clause.as_ref());
                self.scopes.push(Scope::default());
                if let Some(relation) = &delete.relation {
                    self.range_var(relation, true);
                }
                self.from(&delete.using_clause);
                self.condition(inner(&delete.where_clause), false);
                self.returning(delete.returning_clause.as_ref());
                self.scopes.pop();
            }
            NodeEnum::MergeStmt(merge) => {
                self.shape.writes = true;
                self.with(merge.with_clause.as_ref());
                self.scopes.push(Scope::default());
                if let Some(relation) = &merge.relation {
                    self.range_var(relation, true);
                }
                if let Some(source) = &merge.source_relation {
                    self.from(std::slice::from_ref(source));
                }
                self.condition(inner(&merge.join_condition), false);
                self.scopes.pop();
            }
            _ => {}
        }
    }

    fn returning(&mut self, clause: Option<&protobuf::ReturningClause>) {
        for node in clause.iter().flat_map(|clause| &clause.exprs) {
            self.read(node.node.as_ref());
        }
    }

    fn with(&mut self, clause: Option<&WithClause>) {
        for node in clause.iter().flat_map(|clause| &clause.ctes) {
            if let Some(NodeEnum::CommonTableExpr(expression)) = &node.node {
                self.named.insert(expression.ctename.clone());
                if let Some(query) = inner(&expression.ctequery) {
                    self.query(query);
                }
            }
        }
    }

    fn select(&mut self, select: &SelectStmt, insert_into: Option<(usize, &[String])>) {
        let through = self.through.take();
        self.with(select.with_clause.as_ref());
        for side in [&select.larg, &select.rarg].into_iter().flatten() {
            self.select(side, None);
        }
        self.scopes.push(Scope::default());
        self.from(&select.from_clause);
        let columns = through.map(|through| self.columns_of_view(through, select));
        for (position, node) in select.target_list.iter().enumerate() {
            if let (Some((target, columns)), Some(NodeEnum::ResTarget(result))) =
                (insert_into, &node.node)
                && let Some(value) = inner(&result.val)
            {
                self.inserted(target, columns.get(position), value);
            }
            // A column that a view only hands on is read where the view's is.
            if !columns.as_ref().is_some_and(|columns| columns.hands_on(position)) {
                self.read(node.node.as_ref());
            }
        }
        for list in &select.values_lists {
            let Some(NodeEnum::List(list)) = &list.node else { continue };
            for (position, node) in list.items.iter().enumerate() {
                let Some(value) = node.node.as_ref() else { continue };
                if let Some((target, columns)) = insert_into {
                    self.inserted(target, columns.get(position), value);
                }
                self.read(Some(value));
            }
        }
        self.condition(inner(&select.where_clause), false);
        self.read(inner(&select.having_clause));
        for node in select.group_clause.iter().chain(&select.distinct_clause) {
            let resolved = node.node.as_ref().map(|node| by_position(node, &select.target_list));
            if let Some(Subject::Column(column)) =
                self.subject(resolved).map(|(_, subject)| subject)
                && let Some((relation, _)) = self.subject(resolved)
            {
                self.shape.group.push((relation, column));
            }
        }
        for node in &select.sort_clause {
            self.sort(node, &select.target_list);
        }
        if select.limit_count.is_some() {
            self.shape.limit = true;
        }
        for limit in [&select.limit_count, &select.limit_offset] {
            if let Some(number) = inner(limit).and_then(parameter) {
                self.shape.limit_parameters.push(number);
            }
        }
        // Row locks are written into rows; SELECT INTO creates a table.
        if !select.locking_clause.is_empty() || select.into_clause.is_some() {
            self.shape.writes = true;
        }
        self.scopes.pop();
        self.through = columns;
    }

    fn sort(&mut self, node: &Node, targets: &[Node]) {
        let Some(NodeEnum::SortBy(sort)) = &node.node else { return };
        let resolved = inner(&sort.node).map(|node| by_position(node, targets));
        self.read(resolved);
        let Some((relation, subject)) = self.subject(resolved) else { return };
        if self.grouped.contains(&relation) {
            return;
        }
        self.shape.order.push(OrderKey {
            relation,
            subject,
            descending: sort.sortby_dir == SortByDir::SortbyDesc as i32,
            nulls_first: match SortByNulls::try_from(sort.sortby_nulls) {
                Ok(SortByNulls::SortbyNullsFirst) => Some(true),
                Ok(SortByNulls::SortbyNullsLast) => Some(false),
                _ => None,
            },
        });
    }

    fn from(&mut self, items: &[impl std::borrow::Borrow<Node>]) {
        let mut quals = Vec::new();
        for item in items {
            self.table_item(item.borrow().node.as_ref(), &mut quals);
        }
        for qual in quals {
            self.condition(Some(qual), false);
        }
    }

    fn table_item<'n>(&mut self, item: Option<&'n NodeEnum>, quals: &mut Vec<&'n NodeEnum>) {
        match item {
            Some(NodeEnum::RangeVar(relation)) => {
                self.range_var(relation, false);
            }
            Some(NodeEnum::RangeSubselect(subselect)) => {
                if let Some(query) = inner(&subselect.subquery) {
                    self.query(query);
                }
            }
            Some(NodeEnum::JoinExpr(join)) => {
                let before = self.in_scope();
                self.table_item(inner(&join.larg), quals);
                let between = self.in_scope();
                self.table_item(inner(&join.rarg), quals);
                for column in join.using_clause.iter().filter_map(string) {
                    self.join_using(column, before, between);
                }
                quals.extend(inner(&join.quals));
            }
            _ => {}
        }
    }

    /// How many relations and views the innermost scope has.
    fn in_scope(&self) -> (usize, usize) {
        self.scopes.last().map_or((0, 0), |scope| (scope.relations.len(), scope.views.len()))
    }

    fn join_using(&mut self, column: &str, before: (usize, usize), between: (usize, usize)) {
        let Some(scope) = self.scopes.last() else { return };
        let end = (scope.relations.len(), scope.views.len());
        let side = |from: (usize, usize), to: (usize, usize)| {
            let mut relations = scope.relations.get(from.0..to.0)?.iter().copied();
            let own = relations.find(|relation| self.has_column(*relation, column));
            own.map(|relation| (relation, column.to_owned())).or_else(|| {
                scope.views.get(from.1..to.1)?.iter().find_map(|view| view.column(column))?
            })
        };
        if let (Some(left), Some(right)) = (side(before, between), side(between, end)) {
            self.join(left, right);
        }
    }

    /// Notes an equality of two columns, where an index of either could serve it.
    fn join(&mut self, left: (usize, String), right: (usize, String)) {
        if !self.grouped.contains(&left.0) && !self.grouped.contains(&right.0) {
            self.shape.joins.push(Join { left, right });
        }
    }

    fn range_var(&mut self, relation: &RangeVar, target_of_write: bool) -> Option<usize> {
        let schema = (!relation.schemaname.is_empty()).then_some(relation.schemaname.as_str());
        if schema.is_none() && self.named.contains(&relation.relname) {
            return None;
        }
        let Some((name, columns)) = self.catalog.columns(schema, &relation.relname) else {
            if !target_of_write && self.view(schema, relation) {
                return None;
            }
            self.shape.unknown_relations.push(match schema {
                Some(schema) => format!("{schema}.{}", relation.relname),
                None => relation.relname.clone(),
            });
            return None;
        };
        let alias = relation
            .alias
            .as_ref()
            .map_or_else(|| relation.relname.clone(), |alias| alias.aliasname.clone());
        let index = self.shape.relations.len();
        self.shape.relations.push(RelationUse { name, alias, target_of_write });
        self.columns.push(columns);
        if let Some(scope) = self.scopes.last_mut() {
            scope.relations.push(index);
        }
        Some(index)
    }

    fn has_column(&self, relation: usize, column: &str) -> bool {
        self.columns
            .get(relation)
            .is_some_and(|columns| columns.iter().any(|known| known == column))
    }

    /// The relation and column that a reference means, the innermost scope first.
    fn resolve(&self, reference: &ColumnRef) -> Option<(usize, String)> {
        let names: Vec<&str> = reference.fields.iter().filter_map(string).collect();
        let (qualifier, column) = match names.as_slice() {
            [column] => (None, *column),
            [.., qualifier, column] => (Some(*qualifier), *column),
            [] => return None,
        };
        for scope in self.scopes.iter().rev() {
            for relation in &scope.relations {
                let matches = match qualifier {
                    Some(qualifier) => self
                        .shape
                        .relations
                        .get(*relation)
                        .is_some_and(|used| used.alias == qualifier),
                    None => true,
                };
                if matches && self.has_column(*relation, column) {
                    return Some((*relation, column.to_owned()));
                }
            }
            let mut views = scope.views.iter().filter(|view| view.is_named(qualifier));
            if let Some(meant) = views.find_map(|view| view.column(column)) {
                return meant;
            }
        }
        None
    }

    fn inserted(&mut self, target: usize, column: Option<&String>, value: &NodeEnum) {
        let relation = self.shape.relations.get(target).map(|used| used.name.clone());
        if let (Some(number), Some(column), Some(relation)) = (parameter(value), column, relation) {
            self.shape.parameters.entry(number).or_insert(ParameterUse {
                relation,
                subject: Subject::Column(column.clone()),
                role: ParameterRole::Inserted,
            });
        }
    }

    fn assignments(&mut self, targets: &[Node], relation: Option<usize>) {
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
            self.shape.columns_written.push(target.name.clone());
            let value = inner(&target.val);
            self.read(value);
            let name = relation.and_then(|relation| self.shape.relations.get(relation));
            if let (Some(number), Some(name)) = (value.and_then(parameter), name) {
                let relation = name.name.clone();
                self.shape.parameters.entry(number).or_insert(ParameterUse {
                    relation,
                    subject: Subject::Column(target.name.clone()),
                    role: ParameterRole::Assigned,
                });
            }
        }
    }
}
