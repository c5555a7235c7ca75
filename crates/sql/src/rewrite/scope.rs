//! The relations of a FROM clause, and which column of which of them a reference means.

use super::node::{inner, string};
use crate::Relations;
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, JoinExpr, JoinType, Node, RangeVar};
use pgassay_model::relation::{Column, Relation};

/// What is known when a statement is read.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    pub(super) relations: &'a Relations<'a>,
    /// Names of common table expressions, which are no relations.
    pub(super) named: Vec<String>,
    /// The highest `n` of its `$n`.
    pub(super) parameters: usize,
    /// Values of its parameters in the calls seen; empty where none was.
    pub(super) calls: &'a [Vec<Option<String>>],
}

impl<'a> Facts<'a> {
    fn relation(&self, named: &RangeVar) -> Option<&'a Relation> {
        let schema = (!named.schemaname.is_empty()).then_some(named.schemaname.as_str());
        if schema.is_none() && self.named.contains(&named.relname) {
            return None;
        }
        self.relations.meant(schema, &named.relname)
    }
}

/// One mention of a relation in a FROM clause.
#[derive(Debug, Clone)]
pub(super) struct Mention<'a> {
    pub(super) alias: String,
    pub(super) relation: &'a Relation,
    /// On the side of an outer join that is filled with NULLs.
    pub(super) nullable: bool,
}

/// A FROM clause.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub(super) mentions: Vec<Mention<'a>>,
    /// Everything in it is a known relation under its own columns' names: a name without a qualifier that one of
    /// them has means that one.
    pub(super) complete: bool,
    /// For scopes within this one.
    pub(super) facts: Facts<'a>,
}

/// A column that a reference means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'s, 'a> {
    pub(super) mention: &'s Mention<'a>,
    pub(super) column: &'a Column,
}

impl Found<'_, '_> {
    /// Whether it can be NULL where it is read.
    pub(super) fn nullable(&self) -> bool {
        !self.column.not_null || self.mention.nullable
    }

    /// Its type without length or precision.
    pub(super) fn type_name(&self) -> &str {
        self.column.type_name.split('(').next().unwrap_or(&self.column.type_name)
    }

    /// `alias.column`, quoted where needed.
    pub(super) fn qualified(&self) -> String {
        crate::quote_qualified(&self.mention.alias, &self.column.name)
    }
}

impl<'a> Scope<'a> {
    pub(super) fn of<'n>(
        items: impl IntoIterator<Item = &'n Node>,
        target: Option<&RangeVar>,
        facts: &Facts<'a>,
    ) -> Scope<'a> {
        let mut scope = Scope { mentions: Vec::new(), complete: true, facts: facts.clone() };
        if let Some(target) = target {
            scope.add(target, false, facts);
        }
        for item in items {
            scope.item(item.node.as_ref(), false, facts);
        }
        scope
    }

    fn item(&mut self, item: Option<&NodeEnum>, nullable: bool, facts: &Facts<'a>) {
        match item {
            Some(NodeEnum::RangeVar(named)) => self.add(named, nullable, facts),
            Some(NodeEnum::JoinExpr(join)) => self.join(join, nullable, facts),
            _ => self.complete = false,
        }
    }

    fn join(&mut self, join: &JoinExpr, nullable: bool, facts: &Facts<'a>) {
        let kind = JoinType::try_from(join.jointype).unwrap_or(JoinType::JoinFull);
        let (left, right) = match kind {
            JoinType::JoinInner => (false, false),
            JoinType::JoinLeft => (false, true),
            JoinType::JoinRight => (true, false),
            _ => (true, true),
        };
        if join.is_natural || !join.using_clause.is_empty() || join.alias.is_some() {
            self.complete = false;
        }
        self.item(inner(&join.larg), nullable || left, facts);
        self.item(inner(&join.rarg), nullable || right, facts);
    }

    fn add(&mut self, named: &RangeVar, nullable: bool, facts: &Facts<'a>) {
        let alias = named.alias.as_ref();
        if alias.is_some_and(|alias| !alias.colnames.is_empty()) {
            self.complete = false;
            return;
        }
        match facts.relation(named) {
            Some(relation) => self.mentions.push(Mention {
                alias: alias.map_or_else(|| named.relname.clone(), |a| a.aliasname.clone()),
                relation,
                nullable,
            }),
            None => self.complete = false,
        }
    }

    /// The column that a reference means; None where it is none of these, or it can't be told.
    pub(super) fn column(&self, node: Option<&NodeEnum>) -> Option<Found<'_, 'a>> {
        let Some(NodeEnum::ColumnRef(reference)) = node else { return None };
        self.reference(reference)
    }

    fn reference(&self, reference: &ColumnRef) -> Option<Found<'_, 'a>> {
        let names: Vec<&str> = reference.fields.iter().map(string).collect::<Option<_>>()?;
        let mut found = match names.as_slice() {
            [name] if self.complete => {
                self.mentions.iter().filter_map(|mention| find(mention, name)).collect()
            }
            [alias, name] => {
                let named = self.mentions.iter().filter(|mention| mention.alias == *alias);
                named.filter_map(|mention| find(mention, name)).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        if found.len() == 1 { found.pop() } else { None }
    }
}

fn find<'s, 'a>(mention: &'s Mention<'a>, name: &str) -> Option<Found<'s, 'a>> {
    let relation: &'a Relation = mention.relation;
    Some(Found { mention, column: relation.column(name)? })
}
