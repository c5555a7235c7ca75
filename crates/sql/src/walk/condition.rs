//! Conditions: what restricts a relation, and what joins two.

use super::Walk;
use super::expression::{constant, inner, parameter, prefix, string};
use crate::shape::*;
use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, ColumnRef, Node, NullTestType};

impl Walk<'_> {
    /// Collects the conditions of a WHERE or ON clause.
    pub(super) fn condition(&mut self, node: Option<&NodeEnum>, in_or: bool) {
        self.alternative(node, in_or);
    }

    /// Collects conditions; returns how those below an OR belong together.
    fn alternative(&mut self, node: Option<&NodeEnum>, in_or: bool) -> Condition {
        let Some(node) = node else { return Condition::Unknown };
        let NodeEnum::BoolExpr(expression) = node else {
            let before = self.shape.predicates.len();
            self.single(node, in_or);
            let last = self.shape.predicates.len();
            let found = !matches!(node, NodeEnum::SubLink(_)) && last > before;
            return if found { Condition::Predicate(last - 1) } else { Condition::Unknown };
        };
        let is = |kind: BoolExprType| expression.boolop == kind as i32;
        if is(BoolExprType::NotExpr)
            && let [Node { node: Some(NodeEnum::ColumnRef(reference)) }] =
                expression.args.as_slice()
        {
            let before = self.shape.predicates.len();
            self.boolean(reference, "false", in_or);
            let found = self.shape.predicates.len() > before;
            return if found { Condition::Predicate(before) } else { Condition::Unknown };
        }
        let below = in_or || !is(BoolExprType::AndExpr);
        let parts: Vec<Condition> = expression
            .args
            .iter()
            .map(|argument| self.alternative(argument.node.as_ref(), below))
            .collect();
        if is(BoolExprType::AndExpr) {
            Condition::All(parts)
        } else if is(BoolExprType::OrExpr) && in_or {
            Condition::Any(parts)
        } else {
            if is(BoolExprType::OrExpr) {
                self.shape.choices.push(parts);
            }
            Condition::Unknown
        }
    }

    fn single(&mut self, node: &NodeEnum, in_or: bool) {
        match node {
            NodeEnum::ColumnRef(reference) => self.boolean(reference, "true", in_or),
            NodeEnum::NullTest(test) => {
                let operator = if test.nulltesttype == NullTestType::IsNull as i32 {
                    Operator::IsNull
                } else {
                    Operator::IsNotNull
                };
                let argument = inner(&test.arg);
                self.read(argument);
                if let Some((relation, subject)) = self.subject(argument) {
                    self.predicate(relation, subject, operator, ValueKind::Other, in_or);
                }
            }
            NodeEnum::AExpr(expression) => self.comparison(expression, in_or),
            NodeEnum::SubLink(_) => self.read(Some(node)),
            _ => self.read(Some(node)),
        }
    }

    fn boolean(&mut self, reference: &ColumnRef, value: &str, in_or: bool) {
        if let Some((relation, column)) = self.resolve(reference) {
            self.shape.columns_read.push((relation, column.clone()));
            self.predicate(
                relation,
                Subject::Column(column),
                Operator::Equal,
                ValueKind::Constant(value.to_owned()),
                in_or,
            );
        }
    }

    fn predicate(
        &mut self,
        relation: usize,
        subject: Subject,
        operator: Operator,
        value: ValueKind,
        in_or: bool,
    ) {
        if let (ValueKind::Parameter(number), Some(used)) =
            (&value, self.shape.relations.get(relation))
        {
            self.compared(
                *number,
                used.name.clone(),
                &subject,
                ParameterRole::Compared(operator.clone()),
            );
        }
        self.shape.predicates.push(Predicate { relation, subject, operator, value, in_or });
    }

    fn compared(
        &mut self,
        number: usize,
        relation: pgassay_model::index::RelationName,
        subject: &Subject,
        role: ParameterRole,
    ) {
        self.shape.parameters.entry(number).or_insert(ParameterUse {
            relation,
            subject: subject.clone(),
            role,
        });
    }

    fn comparison(&mut self, expression: &AExpr, in_or: bool) {
        let (left, right) = (inner(&expression.lexpr), inner(&expression.rexpr));
        self.read(left);
        self.read(right);
        let name = expression.name.last().and_then(string).unwrap_or_default();
        let sides = (self.subject(left), self.subject(right));
        if let (Some(left), Some(right)) = &sides {
            if left.0 != right.0 && expression.kind == AExprKind::AexprOp as i32 {
                self.between(left, name, right, in_or);
            }
            return;
        }
        let (relation, subject, value, flipped) = match sides {
            (Some((relation, subject)), None) => (relation, subject, right, false),
            (None, Some((relation, subject))) => (relation, subject, left, true),
            _ => return,
        };
        let kind = |node: Option<&NodeEnum>| match node {
            Some(node) => match (parameter(node), constant(node)) {
                (Some(number), _) => ValueKind::Parameter(number),
                (None, Some(text)) => ValueKind::Constant(text),
                (None, None) => ValueKind::Other,
            },
            None => ValueKind::Other,
        };
        use AExprKind::*;
        match AExprKind::try_from(expression.kind) {
            Ok(AexprOp) => {
                let operator = match name {
                    "=" => Operator::Equal,
                    "<>" | "!=" => Operator::NotEqual,
                    "<" | "<=" | ">" | ">=" => Operator::Range,
                    other if flipped => Operator::Other(commutator(other).to_owned()),
                    other => Operator::Other(other.to_owned()),
                };
                if let (Some(number), Some(used)) =
                    (value.and_then(folded_parameter), self.shape.relations.get(relation))
                {
                    let role = ParameterRole::Compared(operator.clone());
                    self.compared(number, used.name.clone(), &subject, role);
                }
                self.predicate(relation, subject, operator, kind(value), in_or);
            }
            Ok(AexprOpAny) if name == "=" => {
                let value = kind(value);
                if let (ValueKind::Parameter(number), Some(used)) =
                    (&value, self.shape.relations.get(relation))
                {
                    self.compared(*number, used.name.clone(), &subject, ParameterRole::AnyOf);
                }
                self.predicate(relation, subject, Operator::In, value, in_or);
            }
            Ok(AexprIn) if name == "=" => self.list(relation, subject, value, Operator::In, in_or),
            Ok(AexprBetween | AexprBetweenSym) => {
                self.list(relation, subject, value, Operator::Range, in_or)
            }
            Ok(AexprLike) if name == "~~" => {
                let operator = match value.and_then(prefix) {
                    Some(true) => Operator::PrefixLike,
                    _ => Operator::OtherLike,
                };
                self.predicate(relation, subject, operator, kind(value), in_or);
            }
            Ok(AexprNotDistinct) => {
                self.predicate(relation, subject, Operator::Other("is".into()), kind(value), in_or)
            }
            _ => self.predicate(
                relation,
                subject,
                Operator::Other(name.to_owned()),
                kind(value),
                in_or,
            ),
        }
    }

    /// A comparison of two relations.
    fn between(
        &mut self,
        left: &(usize, Subject),
        operator: &str,
        right: &(usize, Subject),
        in_or: bool,
    ) {
        match (operator, &left.1, &right.1) {
            ("=", Subject::Column(a), Subject::Column(b)) => {
                self.join((left.0, a.clone()), (right.0, b.clone()));
            }
            ("=" | "<>" | "!=" | "<" | "<=" | ">" | ">=", ..) => {}
            // Below an OR no index of one side finds all of the pairs.
            _ if !in_or => self.shape.operator_joins.push(OperatorJoin {
                left: left.clone(),
                operator: operator.to_owned(),
                right: right.clone(),
            }),
            _ => {}
        }
    }

    /// IN and BETWEEN: one condition, every `$n` of the list compared with the subject.
    fn list(
        &mut self,
        relation: usize,
        subject: Subject,
        value: Option<&NodeEnum>,
        operator: Operator,
        in_or: bool,
    ) {
        let items: &[Node] = match value {
            Some(NodeEnum::List(list)) => &list.items,
            _ => &[],
        };
        let numbers: Vec<usize> =
            items.iter().filter_map(|item| parameter(item.node.as_ref()?)).collect();
        if let Some(name) = self.shape.relations.get(relation).map(|used| used.name.clone()) {
            for number in &numbers {
                self.compared(
                    *number,
                    name.clone(),
                    &subject,
                    ParameterRole::Compared(operator.clone()),
                );
            }
        }
        let value = match numbers.first() {
            Some(number) => ValueKind::Parameter(*number),
            None => ValueKind::Other,
        };
        self.shape.predicates.push(Predicate { relation, subject, operator, value, in_or });
    }
}

/// What an operator is called with its sides exchanged (`pg_operator.oprcom`).
pub(crate) fn commutator(name: &str) -> &str {
    match name {
        "@>" => "<@",
        "<@" => "@>",
        "<<" => ">>",
        ">>" => "<<",
        other => other,
    }
}

/// The `$n` of `lower($n)`, `upper($n)`: folding twice is folding once, so a value of the other side will do.
fn folded_parameter(node: &NodeEnum) -> Option<usize> {
    let NodeEnum::FuncCall(call) = node else { return None };
    let folds =
        call.funcname.last().and_then(string).is_some_and(|name| matches!(name, "lower" | "upper"));
    match call.args.as_slice() {
        [argument] if folds => parameter(argument.node.as_ref()?),
        _ => None,
    }
}
