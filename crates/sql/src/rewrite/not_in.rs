//! `a NOT IN (SELECT b …)` → `NOT EXISTS (SELECT 1 … WHERE b = a)`, which can be planned as an anti-join.

use super::Note;
use super::node::{self, and, inner, plain};
use super::scope::{Found, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::{BoolExprType, Node, SelectStmt, SubLink, SubLinkType};

pub(super) fn rewrite(node: &Node, scope: &Scope<'_>) -> Option<(Node, Note)> {
    let NodeEnum::BoolExpr(not) = node.node.as_ref()? else { return None };
    let [Node { node: Some(NodeEnum::SubLink(link)) }] = not.args.as_slice() else { return None };
    let any = link.sub_link_type == SubLinkType::AnySublink as i32
        && (link.oper_name.is_empty()
            || link.oper_name.first().and_then(node::string) == Some("="));
    if not.boolop != BoolExprType::NotExpr as i32 || !any {
        return None;
    }
    let outer = scope.column(inner(&link.testexpr))?;
    let NodeEnum::SelectStmt(select) = inner(&link.subselect)? else { return None };
    let within = Scope::of(&select.from_clause, None, &scope.facts);
    // The outer column's alias has to mean the same inside.
    let hidden = within.mentions.iter().any(|mention| mention.alias == outer.mention.alias);
    if !plain(select) || !within.complete || hidden {
        return None;
    }
    let listed = the_column(select, &within)?;
    let mut select = (**select).clone();
    let equal = format!("{} = {}", listed.qualified(), outer.qualified());
    let no_null = !listed.nullable() || excludes_null(&select, &within, &listed);
    let note = match (no_null, outer.nullable()) {
        (true, false) => Note::proven(
            "NOT IN runs its list through a filter row by row, or hashes all of it; NOT EXISTS is planned as an anti-join",
        ),
        (false, _) => Note::check(
            format!(
                "NOT IN can't be planned as an anti-join, and returns no row at all as soon as {} is NULL once",
                listed.qualified()
            ),
            format!(
                "no row is what you want where {} is NULL: NOT EXISTS ignores those",
                listed.qualified()
            ),
        ),
        (true, true) => Note::check(
            "NOT IN can't be planned as an anti-join",
            format!(
                "rows in which {0} is NULL are wanted: NOT EXISTS returns them, NOT IN does not; else add {0} IS NOT NULL",
                outer.qualified()
            ),
        ),
    };
    select.where_clause = Some(and(select.where_clause.take(), node::expression(&equal)?));
    select.target_list = node::select("SELECT 1")?.target_list;
    select.distinct_clause = Vec::new();
    select.sort_clause = Vec::new();
    let exists = SubLink {
        xpr: None,
        sub_link_type: SubLinkType::ExistsSublink as i32,
        sub_link_id: 0,
        testexpr: None,
        oper_name: Vec::new(),
        subselect: Some(Box::new(Node { node: Some(NodeEnum::SelectStmt(Box::new(select))) })),
        location: -1,
    };
    let exists = Node { node: Some(NodeEnum::SubLink(Box::new(exists))) };
    Some((*node::boolean(BoolExprType::NotExpr, vec![exists]), note))
}

/// The one column that a subquery returns.
fn the_column<'s, 'a>(select: &SelectStmt, scope: &'s Scope<'a>) -> Option<Found<'s, 'a>> {
    match select.target_list.as_slice() {
        [Node { node: Some(NodeEnum::ResTarget(target)) }] => scope.column(inner(&target.val)),
        _ => None,
    }
}

/// Whether the WHERE clause lets no NULL of the column through.
fn excludes_null(select: &SelectStmt, scope: &Scope<'_>, listed: &Found<'_, '_>) -> bool {
    node::conjuncts(inner(&select.where_clause)).into_iter().any(|condition| match condition {
        NodeEnum::NullTest(test) => {
            test.nulltesttype == pg_query::protobuf::NullTestType::IsNotNull as i32
                && scope.column(inner(&test.arg)).is_some_and(|found| {
                    found.column.name == listed.column.name
                        && found.mention.alias == listed.mention.alias
                })
        }
        _ => false,
    })
}
