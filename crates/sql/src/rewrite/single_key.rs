//! Rewrites for which the tree alone is no evidence: one look-up for many keys, an order that no index serves.

use super::node::{self, comparison, conjuncts, inner, plain};
use super::scope::{Facts, Scope};
use super::{Note, Rewrite, Rule};
use crate::Relations;
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt};

/// A look-up by one key (`SELECT … WHERE key = $n …`) as one for many: `key = ANY ($n)`, with the key returned, so
/// that rows can be told apart. None for other statements.
pub fn for_many_keys(sql: &str, relations: &Relations<'_>) -> Option<Rewrite> {
    outermost(sql, relations, Rule::OneByOne, |select, scope| {
        let [mention] = scope.mentions.as_slice() else { return None };
        let one = plain(select) && select.distinct_clause.is_empty() && scope.complete;
        if !one || select.target_list.iter().any(|node| !row_by_row(node)) {
            return None;
        }
        let condition = inner(&select.where_clause)?;
        let (name, number) = conjuncts(condition.into()).into_iter().find_map(|condition| {
            let (left, operator, right) = comparison(condition)?;
            let (column, value) = match scope.column(Some(left)) {
                Some(column) => (column, right),
                None => (scope.column(Some(right))?, left),
            };
            let NodeEnum::ParamRef(parameter) = value else { return None };
            (operator == "=").then(|| (column.column.name.clone(), parameter.number))
        })?;
        let qualified = crate::quote_qualified(&mention.alias, &name);
        let mut rewritten = Vec::new();
        let mut replaced = false;
        for condition in conjuncts(condition.into()) {
            let is_key = !replaced
                && comparison(condition).is_some_and(|(left, operator, right)| {
                    let parameter = |node: &NodeEnum| {
                        matches!(node, NodeEnum::ParamRef(p) if p.number == number)
                    };
                    operator == "=" && (parameter(left) || parameter(right))
                });
            replaced |= is_key;
            rewritten.push(if is_key {
                node::expression(&format!("{qualified} = ANY (${number})"))?
            } else {
                Node { node: Some(condition.clone()) }
            });
        }
        let mut all = None;
        for condition in rewritten {
            all = Some(node::and(all, condition));
        }
        select.where_clause = all;
        if !returns(select, &name) {
            select.target_list.extend(node::select(&format!("SELECT {qualified}"))?.target_list);
        }
        Some(Note::check(
            "every look-up is a round trip; one statement returns the rows of all keys",
            format!(
                "the application passes all keys as one array and divides the rows among them by {name}; a key without rows has none"
            ),
        ))
    })
}

/// A statement with ORDER BY … LIMIT whose first key no index serves any more: `ORDER BY k + 0`. None where it has
/// no such order, or its first key is of a type without a neutral operation.
pub fn without_order_index(sql: &str, relations: &Relations<'_>) -> Option<Rewrite> {
    outermost(sql, relations, Rule::OrderByLimit, |select, scope| {
        select.limit_count.as_ref()?;
        let first = select.sort_clause.first_mut()?;
        let Some(NodeEnum::SortBy(sort)) = &mut first.node else { return None };
        let key = inner(&sort.node)?;
        let column = scope.column(Some(key))?;
        let neutral = match column.type_name() {
            "smallint" | "integer" | "bigint" | "numeric" => "+ 0",
            "text" | "character varying" => "|| ''",
            "timestamp without time zone" | "timestamp with time zone" => "+ interval '0'",
            "date" => "+ 0",
            _ => return None,
        };
        let name = node::text(key)?;
        let column = column.column.name.clone();
        sort.node = Some(Box::new(node::expression(&format!("{name} {neutral}"))?));
        Some(Note::check(
            format!(
                "the planner walks the index of {column} until enough rows pass the other conditions, and takes those for evenly spread; with {neutral} it fetches the rows that pass and sorts them"
            ),
            "both are measured with the values that are slow: where matches are many, walking the order is the better way; extended statistics on the columns are the cleaner remedy",
        ))
    })
}

fn outermost(
    sql: &str,
    relations: &Relations<'_>,
    rule: Rule,
    change: impl FnOnce(&mut SelectStmt, &Scope<'_>) -> Option<Note>,
) -> Option<Rewrite> {
    let parsed = pg_query::parse(sql, 0).ok()?;
    let facts = Facts {
        relations,
        named: parsed.cte_names.clone(),
        parameters: crate::parameter_count(sql).ok()?,
        calls: &[],
    };
    let [statement] = parsed.protobuf.stmts.as_slice() else { return None };
    let mut tree = statement.stmt.as_ref()?.node.clone()?;
    let NodeEnum::SelectStmt(select) = &mut tree else { return None };
    let scope = Scope::of(&select.from_clause, None, &facts);
    let note = change(select, &scope)?;
    let after = tree.deparse(Default::default()).ok()?;
    crate::single_statement(&after).ok()?;
    Some(Rewrite { rule, after, check: note.check, reason: note.reason })
}

/// No aggregate and no set: a result of each row by itself.
fn row_by_row(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => !matches!(
            inner(&target.val),
            None | Some(NodeEnum::FuncCall(_) | NodeEnum::SubLink(_) | NodeEnum::AExpr(_))
        ),
        _ => false,
    }
}

fn returns(select: &SelectStmt, column: &str) -> bool {
    select.target_list.iter().any(|node| {
        let Some(NodeEnum::ResTarget(target)) = &node.node else { return false };
        let Some(NodeEnum::ColumnRef(reference)) = inner(&target.val) else { return false };
        match reference.fields.last().and_then(|field| field.node.as_ref()) {
            Some(NodeEnum::AStar(_)) => true,
            Some(NodeEnum::String(name)) => name.sval == column && target.name.is_empty(),
            _ => false,
        }
    })
}
