//! `WHERE a.x = 1 OR b.y = 2` → UNION ALL of both: no index serves an OR of two relations, each arm has its own.
//!
//! The later arm leaves out what the earlier one returned (`(…) IS NOT TRUE`), so no row comes twice and equal rows
//! stay as many as they are.

use super::Note;
use super::node::{self, boolean, conjuncts, function_name, inner, plain, text};
use super::scope::Scope;
use pg_query::protobuf::{BoolExprType, Node, SelectStmt, SetOperation};
use pg_query::{NodeEnum, NodeRef};
use std::collections::BTreeSet;

/// More arms than that make a statement that nobody wants to read, and are seldom cheaper.
const MOST_ARMS: usize = 3;

pub(super) fn rewrite(select: &mut SelectStmt, scope: &Scope<'_>) -> Option<Note> {
    let simple =
        plain(select) && select.distinct_clause.is_empty() && select.sort_clause.is_empty();
    if !simple || scope.mentions.is_empty() || !select.target_list.iter().all(repeatable) {
        return None;
    }
    let all = conjuncts(inner(&select.where_clause));
    if !all.iter().all(|condition| deterministic(condition)) {
        return None;
    }
    let place = all.iter().position(|condition| arms(condition).len() > 1)?;
    let alternatives = arms(all.get(place)?);
    if alternatives.len() > MOST_ARMS || !of_different_relations(&alternatives, scope) {
        return None;
    }
    let rest: Vec<&NodeEnum> =
        all.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, node)| *node).collect();
    let mut branches = Vec::new();
    for (at, arm) in alternatives.iter().enumerate() {
        let mut conditions: Vec<Node> = rest.iter().map(|node| wrap(node)).collect();
        conditions.push(wrap(arm));
        let before = alternatives.get(..at).unwrap_or_default();
        let earlier: Option<Vec<String>> = before.iter().map(|arm| text(arm)).collect();
        for earlier in earlier? {
            conditions.push(node::expression(&format!("({earlier}) IS NOT TRUE"))?);
        }
        let condition = match conditions.len() {
            1 => Box::new(conditions.pop()?),
            _ => boolean(BoolExprType::AndExpr, conditions),
        };
        branches.push(SelectStmt { where_clause: Some(condition), ..select.clone() });
    }
    let mut branches = branches.into_iter();
    let first = branches.next()?;
    *select = branches.fold(first, |left, right| SelectStmt {
        op: SetOperation::SetopUnion as i32,
        all: true,
        larg: Some(Box::new(left)),
        rarg: Some(Box::new(right)),
        limit_option: select.limit_option,
        ..SelectStmt::default()
    });
    Some(Note::proven(
        "no index serves an OR of conditions on different relations: all rows are joined first; each arm alone is served by its own index",
    ))
}

fn wrap(node: &NodeEnum) -> Node {
    Node { node: Some(node.clone()) }
}

fn arms(condition: &NodeEnum) -> Vec<&NodeEnum> {
    match condition {
        NodeEnum::BoolExpr(any) if any.boolop == BoolExprType::OrExpr as i32 => {
            any.args.iter().filter_map(|argument| argument.node.as_ref()).collect()
        }
        _ => Vec::new(),
    }
}

/// Arms on one relation alone are the planner's to combine (BitmapOr).
fn of_different_relations(arms: &[&NodeEnum], scope: &Scope<'_>) -> bool {
    let subquery = |arm: &NodeEnum| {
        matches!(arm, NodeEnum::SubLink(_))
            || arm.nodes().iter().any(|(node, ..)| matches!(node, NodeRef::SubLink(_)))
    };
    if arms.iter().any(|arm| subquery(arm)) {
        return true;
    }
    let mut all: Vec<BTreeSet<&str>> = Vec::new();
    for arm in arms {
        let mut named = BTreeSet::new();
        for column in columns(arm) {
            match scope.column(Some(&NodeEnum::ColumnRef(column))) {
                Some(found) => named.insert(found.mention.alias.as_str()),
                None => return false,
            };
        }
        all.push(named);
    }
    all.windows(2).any(|pair| matches!(pair, [a, b] if a != b))
}

fn columns(node: &NodeEnum) -> Vec<pg_query::protobuf::ColumnRef> {
    if let NodeEnum::ColumnRef(column) = node {
        return vec![column.clone()];
    }
    let mut all = Vec::new();
    for (node, ..) in node.nodes() {
        if let NodeRef::ColumnRef(column) = node {
            all.push(column.clone());
        }
    }
    all
}

/// A result that may be computed in either branch.
fn repeatable(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => inner(&target.val).is_some_and(computed),
        _ => false,
    }
}

/// A column, a constant, or what scalar functions that are known make of them: no aggregate, no set.
fn computed(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::ColumnRef(_) | NodeEnum::AConst(_) => true,
        NodeEnum::TypeCast(cast) => inner(&cast.arg).is_some_and(computed),
        NodeEnum::AExpr(expression) => {
            [&expression.lexpr, &expression.rexpr].into_iter().filter_map(inner).all(computed)
        }
        NodeEnum::CoalesceExpr(coalesce) => {
            coalesce.args.iter().filter_map(|node| node.node.as_ref()).all(computed)
        }
        NodeEnum::FuncCall(call) => {
            known(call) && call.args.iter().filter_map(|node| node.node.as_ref()).all(computed)
        }
        _ => false,
    }
}

fn deterministic(node: &NodeEnum) -> bool {
    let own = match node {
        NodeEnum::FuncCall(call) => known(call),
        _ => true,
    };
    own && node.nodes().iter().all(|(node, ..)| match node {
        NodeRef::FuncCall(call) => known(call),
        NodeRef::SelectStmt(select) => {
            select.limit_count.is_none() && select.limit_offset.is_none()
        }
        _ => true,
    })
}

/// Functions that return the same for the same, within a statement.
fn known(call: &pg_query::protobuf::FuncCall) -> bool {
    matches!(
        function_name(call),
        Some(
            "lower"
                | "upper"
                | "length"
                | "abs"
                | "round"
                | "date"
                | "date_trunc"
                | "extract"
                | "date_part"
                | "now"
                | "substring"
                | "btrim"
                | "ltrim"
                | "rtrim"
                | "left"
                | "right"
                | "replace"
                | "concat"
                | "make_date"
        )
    )
}
