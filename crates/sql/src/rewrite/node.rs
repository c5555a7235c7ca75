//! Small pieces of a parse tree: read, written as text, and made from text.

use crate::walk::expression_text;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    self, AExpr, AExprKind, BoolExpr, BoolExprType, Node, SelectStmt, SetOperation, a_const,
};

pub(super) fn inner(node: &Option<Box<Node>>) -> Option<&NodeEnum> {
    node.as_ref().and_then(|node| node.node.as_ref())
}

pub(super) fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}

/// An expression as SQL.
pub(super) fn text(node: &NodeEnum) -> Option<String> {
    expression_text(node)
}

/// An expression from SQL.
pub(super) fn expression(sql: &str) -> Option<Node> {
    let select = select(&format!("SELECT {sql}"))?;
    match select.target_list.into_iter().next()?.node? {
        NodeEnum::ResTarget(target) => target.val.map(|value| *value),
        _ => None,
    }
}

/// A SELECT from SQL.
pub(super) fn select(sql: &str) -> Option<SelectStmt> {
    let parsed = pg_query::parse(sql, 0).ok()?;
    match parsed.protobuf.stmts.into_iter().next()?.stmt?.node? {
        NodeEnum::SelectStmt(select) => Some(*select),
        _ => None,
    }
}

/// Both conditions.
pub(super) fn and(left: Option<Box<Node>>, right: Node) -> Box<Node> {
    let Some(left) = left else { return Box::new(right) };
    let mut args = match *left {
        Node { node: Some(NodeEnum::BoolExpr(all)) }
            if all.boolop == BoolExprType::AndExpr as i32 =>
        {
            all.args
        }
        other => vec![other],
    };
    args.push(right);
    boolean(BoolExprType::AndExpr, args)
}

pub(super) fn boolean(kind: BoolExprType, args: Vec<Node>) -> Box<Node> {
    let expression = BoolExpr { xpr: None, boolop: kind as i32, args, location: -1 };
    Box::new(Node { node: Some(NodeEnum::BoolExpr(Box::new(expression))) })
}

/// The conditions that all have to hold.
pub(super) fn conjuncts(condition: Option<&NodeEnum>) -> Vec<&NodeEnum> {
    match condition {
        Some(NodeEnum::BoolExpr(all)) if all.boolop == BoolExprType::AndExpr as i32 => {
            all.args.iter().flat_map(|argument| conjuncts(argument.node.as_ref())).collect()
        }
        Some(other) => vec![other],
        None => Vec::new(),
    }
}

/// `left operator right` of a plain comparison.
pub(super) fn comparison(node: &NodeEnum) -> Option<(&NodeEnum, &str, &NodeEnum)> {
    let NodeEnum::AExpr(expression) = node else { return None };
    (expression.kind == AExprKind::AexprOp as i32).then_some(())?;
    Some((inner(&expression.lexpr)?, operator(expression)?, inner(&expression.rexpr)?))
}

/// An operator's name, without a schema.
pub(super) fn operator(expression: &AExpr) -> Option<&str> {
    match expression.name.as_slice() {
        [name] => string(name),
        _ => None,
    }
}

/// The same comparison with its sides changed.
pub(super) fn flipped(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "=" => "=",
        "<>" | "!=" => "<>",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        _ => return None,
    })
}

/// A type's name, without `pg_catalog`, where it is no array.
pub(super) fn type_name(name: Option<&protobuf::TypeName>) -> Option<&str> {
    let name = name.filter(|name| name.array_bounds.is_empty() && !name.setof)?;
    match name.names.as_slice() {
        [only] => string(only),
        [schema, only] if string(schema) == Some("pg_catalog") => string(only),
        _ => None,
    }
}

/// A function of that name, without `pg_catalog`.
pub(super) fn function_name(call: &protobuf::FuncCall) -> Option<&str> {
    match call.funcname.as_slice() {
        [only] => string(only),
        [schema, only] if string(schema) == Some("pg_catalog") => string(only),
        _ => None,
    }
}

pub(super) fn integer(node: &NodeEnum) -> Option<i32> {
    match node {
        NodeEnum::AConst(constant) => match &constant.val {
            Some(a_const::Val::Ival(value)) => Some(value.ival),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn literal(node: &NodeEnum) -> Option<&str> {
    match node {
        NodeEnum::AConst(constant) => match &constant.val {
            Some(a_const::Val::Sval(value)) => Some(&value.sval),
            _ => None,
        },
        _ => None,
    }
}

/// Digits with a point, as `1.50`.
pub(super) fn decimal(node: &NodeEnum) -> Option<&str> {
    match node {
        NodeEnum::AConst(constant) => match &constant.val {
            Some(a_const::Val::Fval(value)) => Some(&value.fval),
            _ => None,
        },
        _ => None,
    }
}

/// A value that is the same however often it is read in a statement, and reads no column.
pub(super) fn fixed(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::TypeCast(cast) => inner(&cast.arg).is_some_and(fixed),
        NodeEnum::FuncCall(call) => {
            let stable = matches!(
                function_name(call),
                Some(
                    "now"
                        | "transaction_timestamp"
                        | "statement_timestamp"
                        | "date_trunc"
                        | "date"
                        | "make_date"
                )
            );
            stable && call.args.iter().filter_map(|node| node.node.as_ref()).all(fixed)
        }
        NodeEnum::AExpr(expression) => {
            matches!(operator(expression), Some("+" | "-" | "*"))
                && inner(&expression.rexpr).is_some_and(fixed)
                && expression
                    .lexpr
                    .as_ref()
                    .is_none_or(|left| left.node.as_ref().is_some_and(fixed))
        }
        _ => false,
    }
}

/// Whether a parameter is in it.
pub(super) fn has_parameter(node: &NodeEnum) -> bool {
    node.nodes().iter().any(|(node, ..)| matches!(node, pg_query::NodeRef::ParamRef(_)))
}

/// One row source and nothing that makes one row of several, or leaves rows out by their number.
pub(super) fn plain(select: &SelectStmt) -> bool {
    select.op == SetOperation::SetopNone as i32
        && select.group_clause.is_empty()
        && select.having_clause.is_none()
        && select.window_clause.is_empty()
        && select.values_lists.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.locking_clause.is_empty()
        && select.into_clause.is_none()
        && select.with_clause.is_none()
}
