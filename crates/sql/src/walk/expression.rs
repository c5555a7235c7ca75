//! Expressions: the columns they read, the subject they are, and their text.

use super::view::Seen;
use super::{Boxed, Walk};
use crate::shape::*;
use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node, SelectStmt, SubLinkType, a_const};
use std::collections::HashSet;

impl Walk<'_> {
    /// A column, or an expression over columns of one relation.
    pub(super) fn subject(&self, node: Option<&NodeEnum>) -> Option<(usize, Subject)> {
        let node = node?;
        if let NodeEnum::ColumnRef(reference) = node {
            let (relation, column) = self.resolve(reference)?;
            return Some((relation, Subject::Column(column)));
        }
        if !matches!(
            node,
            NodeEnum::FuncCall(_)
                | NodeEnum::AExpr(_)
                | NodeEnum::TypeCast(_)
                | NodeEnum::CoalesceExpr(_)
        ) {
            return None;
        }
        let mut relations = HashSet::new();
        let mut unqualified = node.clone();
        let mut usable = true;
        self.unqualify(&mut unqualified, &mut relations, &mut usable);
        let mut relations = relations.into_iter();
        match (usable, relations.next(), relations.next()) {
            (true, Some(relation), None) => {
                Some((relation, Subject::Expression(expression_text(&unqualified)?)))
            }
            _ => None,
        }
    }

    /// Drops the qualifiers of column references; unusable are parameters, subqueries and aggregates.
    fn unqualify(&self, node: &mut NodeEnum, relations: &mut HashSet<usize>, usable: &mut bool) {
        let mut each = |node: &mut Node| {
            if let Some(node) = &mut node.node {
                self.unqualify(node, relations, usable);
            }
        };
        match node {
            NodeEnum::ColumnRef(reference) => match self.resolve(reference) {
                Some((relation, _)) => {
                    relations.insert(relation);
                    let last = reference.fields.pop();
                    reference.fields = last.into_iter().collect();
                }
                None => *usable = false,
            },
            NodeEnum::FuncCall(call) => {
                if call.over.is_some() || call.agg_star || call.agg_distinct {
                    *usable = false;
                } else {
                    call.args.iter_mut().for_each(&mut each);
                }
            }
            NodeEnum::AExpr(expression) => {
                for side in [&mut expression.lexpr, &mut expression.rexpr].into_iter().flatten() {
                    each(side);
                }
            }
            NodeEnum::TypeCast(cast) => {
                if let Some(argument) = &mut cast.arg {
                    each(argument);
                }
            }
            NodeEnum::CoalesceExpr(coalesce) => coalesce.args.iter_mut().for_each(each),
            NodeEnum::List(list) => list.items.iter_mut().for_each(each),
            NodeEnum::AConst(_) => {}
            _ => *usable = false,
        }
    }

    /// Notes every column an expression reads, and enters its subqueries.
    pub(super) fn read(&mut self, node: Option<&NodeEnum>) {
        let Some(node) = node else { return };
        match node {
            NodeEnum::ColumnRef(reference) => {
                let star = reference
                    .fields
                    .iter()
                    .any(|field| matches!(field.node, Some(NodeEnum::AStar(_))));
                if star {
                    let qualifier = reference.fields.iter().filter_map(string).next_back();
                    let scope = self.scopes.last();
                    let handed_on = scope.into_iter().flat_map(|scope| &scope.views);
                    let handed_on: Vec<(usize, String)> = handed_on
                        .filter(|view| view.is_named(qualifier))
                        .flat_map(Seen::handed_on)
                        .collect();
                    self.shape.columns_read.extend(handed_on);
                    let relations = scope.map_or_else(Vec::new, |scope| scope.relations.clone());
                    for relation in relations {
                        let named =
                            self.shape.relations.get(relation).map(|used| used.alias.as_str());
                        if qualifier.is_none() || qualifier == named {
                            for column in self.columns.get(relation).cloned().unwrap_or_default() {
                                self.shape.columns_read.push((relation, column));
                            }
                        }
                    }
                } else if let Some(column) = self.resolve(reference) {
                    self.shape.columns_read.push(column);
                }
            }
            NodeEnum::SubLink(link) => {
                self.read(inner(&link.testexpr));
                if let Some(query) = inner(&link.subselect) {
                    self.sublink_join(link, query);
                    self.query(query);
                }
            }
            NodeEnum::ResTarget(target) => self.read(inner(&target.val)),
            NodeEnum::FuncCall(call) => {
                call.args.iter().for_each(|node| self.read(node.node.as_ref()));
                self.read(inner(&call.agg_filter));
            }
            NodeEnum::AExpr(expression) => {
                self.read(inner(&expression.lexpr));
                self.read(inner(&expression.rexpr));
            }
            NodeEnum::BoolExpr(expression) => {
                expression.args.iter().for_each(|node| self.read(node.node.as_ref()));
            }
            NodeEnum::TypeCast(cast) => self.read(inner(&cast.arg)),
            NodeEnum::NullTest(test) => self.read(inner(&test.arg)),
            NodeEnum::BooleanTest(test) => self.read(inner(&test.arg)),
            NodeEnum::CoalesceExpr(coalesce) => {
                coalesce.args.iter().for_each(|node| self.read(node.node.as_ref()));
            }
            NodeEnum::CaseExpr(case) => {
                self.read(inner(&case.arg));
                case.args.iter().for_each(|node| self.read(node.node.as_ref()));
                self.read(inner(&case.defresult));
            }
            NodeEnum::CaseWhen(when) => {
                self.read(inner(&when.expr));
                self.read(inner(&when.result));
            }
            NodeEnum::AArrayExpr(array) => {
                array.elements.iter().for_each(|node| self.read(node.node.as_ref()))
            }
            NodeEnum::RowExpr(row) => {
                row.args.iter().for_each(|node| self.read(node.node.as_ref()))
            }
            NodeEnum::List(list) => {
                list.items.iter().for_each(|node| self.read(node.node.as_ref()))
            }
            _ => {}
        }
    }

    /// `a IN (SELECT b FROM …)` joins a and b.
    fn sublink_join(&mut self, link: &protobuf::SubLink, query: &NodeEnum) {
        if link.sub_link_type != SubLinkType::AnySublink as i32 {
            return;
        }
        let NodeEnum::SelectStmt(select) = query else { return };
        let (
            Some((outer, Subject::Column(left))),
            [Node { node: Some(NodeEnum::ResTarget(target)) }],
        ) = (self.subject(inner(&link.testexpr)), select.target_list.as_slice())
        else {
            return;
        };
        let (
            Some(NodeEnum::ColumnRef(reference)),
            [Node { node: Some(NodeEnum::RangeVar(relation)) }],
        ) = (inner(&target.val), select.from_clause.as_slice())
        else {
            return;
        };
        // The subquery's own mention follows as the next relation, when its name is known.
        let schema = (!relation.schemaname.is_empty()).then_some(relation.schemaname.as_str());
        let column = reference.fields.iter().filter_map(string).next_back();
        if let (Some((_, columns)), Some(column)) =
            (self.catalog.columns(schema, &relation.relname), column)
            && !self.named.contains(&relation.relname)
            && columns.iter().any(|known| known == column)
        {
            let next = self.shape.relations.len();
            self.shape.joins.push(Join { left: (outer, left), right: (next, column.to_owned()) });
        }
    }
}

pub(super) fn inner(node: &Boxed) -> Option<&NodeEnum> {
    node.as_ref().and_then(|node| node.node.as_ref())
}

pub(super) fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}

/// `$n`, with or without a cast.
pub(super) fn parameter(node: &NodeEnum) -> Option<usize> {
    match node {
        NodeEnum::ParamRef(reference) => {
            usize::try_from(reference.number).ok().filter(|number| *number > 0)
        }
        NodeEnum::TypeCast(cast) => parameter(inner(&cast.arg)?),
        _ => None,
    }
}

/// A constant as SQL, with or without a cast.
pub(super) fn constant(node: &NodeEnum) -> Option<String> {
    let plain = match node {
        NodeEnum::AConst(_) => true,
        NodeEnum::TypeCast(cast) => matches!(inner(&cast.arg), Some(NodeEnum::AConst(_))),
        _ => false,
    };
    plain.then(|| expression_text(node)).flatten()
}

/// An expression as SQL.
pub(crate) fn expression_text(node: &NodeEnum) -> Option<String> {
    let select = SelectStmt {
        target_list: vec![Node {
            node: Some(NodeEnum::ResTarget(Box::new(protobuf::ResTarget {
                val: Some(Box::new(Node { node: Some(node.clone()) })),
                ..Default::default()
            }))),
        }],
        limit_option: protobuf::LimitOption::Default as i32,
        op: protobuf::SetOperation::SetopNone as i32,
        ..Default::default()
    };
    let text = NodeEnum::SelectStmt(Box::new(select)).deparse(Default::default()).ok()?;
    text.strip_prefix("SELECT ").map(str::to_owned)
}

/// ORDER BY 2, GROUP BY 1 and names of results stand for expressions of the target list.
pub(super) fn by_position<'n>(node: &'n NodeEnum, targets: &'n [Node]) -> &'n NodeEnum {
    let target = |node: &'n Node| match node.node.as_ref() {
        Some(NodeEnum::ResTarget(target)) => Some((target.name.as_str(), inner(&target.val))),
        _ => None,
    };
    match node {
        NodeEnum::AConst(constant) => {
            if let Some(a_const::Val::Ival(position)) = &constant.val
                && let Some(found) =
                    usize::try_from(position.ival - 1).ok().and_then(|index| targets.get(index))
                && let Some((_, Some(value))) = target(found)
            {
                return value;
            }
            node
        }
        NodeEnum::ColumnRef(reference) => {
            let names: Vec<&str> = reference.fields.iter().filter_map(string).collect();
            if let [name] = names.as_slice()
                && let Some((_, Some(value))) =
                    targets.iter().filter_map(target).find(|(known, _)| known == name)
            {
                return value;
            }
            node
        }
        _ => node,
    }
}

/// Whether a LIKE pattern begins with something other than a wildcard; None when it is no constant.
pub(super) fn prefix(node: &NodeEnum) -> Option<bool> {
    match node {
        NodeEnum::AConst(constant) => match &constant.val {
            Some(a_const::Val::Sval(text)) => Some(!text.sval.starts_with(['%', '_'])),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => prefix(inner(&cast.arg)?),
        _ => None,
    }
}
