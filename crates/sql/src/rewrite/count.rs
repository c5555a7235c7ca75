//! `(SELECT count(*) FROM …) > 0` → `EXISTS (SELECT 1 FROM …)`, which ends at the first row.

use super::Note;
use super::node::{self, comparison, flipped, function_name, inner, integer, plain};
use super::scope::{Facts, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::{BoolExprType, Node, SelectStmt, SubLink, SubLinkType};

const REASON: &str = "counting reads every row; EXISTS ends at the first";

/// A subquery's count compared with zero, in any expression.
pub(super) fn compared(node: &Node, scope: &Scope<'_>) -> Option<(Node, Note)> {
    let (left, operator, right) = comparison(node.node.as_ref()?)?;
    let (link, operator, value) = match (left, right) {
        (NodeEnum::SubLink(link), value) => (link, operator, value),
        (value, NodeEnum::SubLink(link)) => (link, flipped(operator)?, value),
        _ => return None,
    };
    let (some, check) = asks_for_some(operator, value, &scope.facts)?;
    let NodeEnum::SelectStmt(select) = inner(&link.subselect)? else { return None };
    let within = Scope::of(&select.from_clause, None, &scope.facts);
    let [Node { node: Some(NodeEnum::ResTarget(target)) }] = select.target_list.as_slice() else {
        return None;
    };
    if link.sub_link_type != SubLinkType::ExprSublink as i32
        || !plain(select)
        || !select.distinct_clause.is_empty()
        || select.from_clause.is_empty()
        || !counts_rows(inner(&target.val)?, &within)
    {
        return None;
    }
    Some((exists(select, some)?, Note { reason: REASON.to_owned(), check }))
}

/// `SELECT count(*) > 0 FROM …` as a whole.
pub(super) fn selected(select: &mut SelectStmt, scope: &Scope<'_>) -> Option<Note> {
    let [Node { node: Some(NodeEnum::ResTarget(target)) }] = select.target_list.as_slice() else {
        return None;
    };
    let (left, operator, right) = comparison(inner(&target.val)?)?;
    let (count, operator, value) = match left {
        NodeEnum::FuncCall(_) => (left, operator, right),
        _ => (right, flipped(operator)?, left),
    };
    let (some, check) = asks_for_some(operator, value, &scope.facts)?;
    if !plain(select)
        || !select.distinct_clause.is_empty()
        || !select.sort_clause.is_empty()
        || select.from_clause.is_empty()
        || !counts_rows(count, scope)
    {
        return None;
    }
    // An operator's result has no name of its own.
    let name = if target.name.is_empty() { "?column?" } else { &target.name };
    let mut outer = node::select(&format!("SELECT true AS {}", crate::quote_identifier(name)))?;
    let tested = exists(select, some)?;
    if let Some(Node { node: Some(NodeEnum::ResTarget(target)) }) = outer.target_list.first_mut() {
        target.val = Some(Box::new(tested));
    }
    *select = outer;
    Some(Note { reason: REASON.to_owned(), check })
}

/// Whether a comparison of a count is true where there is a row (or, false, where there is none), and what has to
/// hold for that where its number is a parameter.
fn asks_for_some(
    operator: &str,
    value: &NodeEnum,
    facts: &Facts<'_>,
) -> Option<(bool, Option<String>)> {
    let (some, number) = match operator {
        ">" | "<>" | "!=" => (true, 0),
        ">=" => (true, 1),
        "=" | "<=" => (false, 0),
        "<" => (false, 1),
        _ => return None,
    };
    match value {
        NodeEnum::ParamRef(parameter) => {
            let check = facts.stands_for(parameter.number, &number.to_string())?;
            Some((some, Some(format!("{check} (the other form has no ${})", parameter.number))))
        }
        constant => (integer(constant)? == number).then_some((some, None)),
    }
}

/// `count(*)`, or count of what is never NULL.
fn counts_rows(node: &NodeEnum, scope: &Scope<'_>) -> bool {
    let NodeEnum::FuncCall(call) = node else { return false };
    if function_name(call) != Some("count") || call.agg_filter.is_some() || call.over.is_some() {
        return false;
    }
    match call.args.as_slice() {
        [] => call.agg_star,
        [argument] => {
            matches!(argument.node, Some(NodeEnum::AConst(ref constant)) if !constant.isnull)
                || scope.column(argument.node.as_ref()).is_some_and(|found| !found.nullable())
        }
        _ => false,
    }
}

fn exists(select: &SelectStmt, some: bool) -> Option<Node> {
    let mut select = select.clone();
    select.target_list = node::select("SELECT 1")?.target_list;
    select.sort_clause = Vec::new();
    let link = SubLink {
        xpr: None,
        sub_link_type: SubLinkType::ExistsSublink as i32,
        sub_link_id: 0,
        testexpr: None,
        oper_name: Vec::new(),
        subselect: Some(Box::new(Node { node: Some(NodeEnum::SelectStmt(Box::new(select))) })),
        location: -1,
    };
    let link = Node { node: Some(NodeEnum::SubLink(Box::new(link))) };
    Some(if some { link } else { *node::boolean(BoolExprType::NotExpr, vec![link]) })
}
