//! Takes a rule to every SELECT and every expression of a statement, each with the FROM clause it stands in.

use super::Note;
use super::scope::{Facts, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, WithClause};

/// What a rule looks at and rewrites in place; None: it does not apply.
#[derive(Clone, Copy)]
pub(super) enum Touch {
    /// Every expression of a WHERE or ON clause.
    Condition(fn(&Node, &Scope<'_>) -> Option<(Node, Note)>),
    /// Every expression.
    Expression(fn(&Node, &Scope<'_>) -> Option<(Node, Note)>),
    /// Every SELECT.
    Select(fn(&mut SelectStmt, &Scope<'_>) -> Option<Note>),
    /// The statement itself, where it is a SELECT.
    Outermost(fn(&mut SelectStmt, &Scope<'_>) -> Option<Note>),
}

/// One rule on its way through a statement.
pub(super) struct Pass<'p, 'a> {
    pub(super) facts: &'p Facts<'a>,
    pub(super) touch: Touch,
    pub(super) notes: Vec<Note>,
    /// Within a WHERE or ON clause.
    pub(super) restricting: bool,
}

impl Pass<'_, '_> {
    pub(super) fn statement(&mut self, node: &mut NodeEnum) {
        if let (Touch::Outermost(rule), NodeEnum::SelectStmt(select)) = (self.touch, &mut *node) {
            let scope = Scope::of(&select.from_clause, None, self.facts);
            self.notes.extend(rule(select, &scope));
            return;
        }
        self.query(node);
    }

    fn query(&mut self, node: &mut NodeEnum) {
        match node {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => {
                self.with(insert.with_clause.as_mut());
                if let Some(node) = insert.select_stmt.as_mut().and_then(|s| s.node.as_mut()) {
                    self.query(node);
                }
            }
            NodeEnum::UpdateStmt(update) => {
                self.with(update.with_clause.as_mut());
                let scope = Scope::of(&update.from_clause, update.relation.as_ref(), self.facts);
                self.from(&mut update.from_clause, &scope);
                self.all(&mut update.target_list, &scope);
                self.condition(&mut update.where_clause, &scope);
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(delete.with_clause.as_mut());
                let scope = Scope::of(&delete.using_clause, delete.relation.as_ref(), self.facts);
                self.from(&mut delete.using_clause, &scope);
                self.condition(&mut delete.where_clause, &scope);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &mut SelectStmt) {
        let outside = std::mem::replace(&mut self.restricting, false);
        self.with(select.with_clause.as_mut());
        for side in [&mut select.larg, &mut select.rarg].into_iter().flatten() {
            self.select(side);
        }
        let scope = Scope::of(&select.from_clause, None, self.facts);
        self.from(&mut select.from_clause, &scope);
        for list in [&mut select.target_list, &mut select.group_clause, &mut select.sort_clause] {
            self.all(list, &scope);
        }
        self.condition(&mut select.where_clause, &scope);
        self.maybe(&mut select.having_clause, &scope);
        if let Touch::Select(rule) = self.touch
            && let Some(note) = rule(select, &scope)
        {
            self.notes.push(note);
        }
        self.restricting = outside;
    }

    fn condition(&mut self, node: &mut Option<Box<Node>>, scope: &Scope<'_>) {
        self.restricting = true;
        self.maybe(node, scope);
        self.restricting = false;
    }

    fn with(&mut self, clause: Option<&mut WithClause>) {
        for node in clause.into_iter().flat_map(|clause| &mut clause.ctes) {
            if let Some(NodeEnum::CommonTableExpr(named)) = &mut node.node
                && let Some(query) = named.ctequery.as_mut().and_then(|query| query.node.as_mut())
            {
                self.query(query);
            }
        }
    }

    fn from(&mut self, items: &mut [Node], scope: &Scope<'_>) {
        for item in items {
            self.item(item, scope);
        }
    }

    fn item(&mut self, item: &mut Node, scope: &Scope<'_>) {
        match &mut item.node {
            Some(NodeEnum::RangeSubselect(subselect)) => {
                if let Some(query) = subselect.subquery.as_mut().and_then(|q| q.node.as_mut()) {
                    self.query(query);
                }
            }
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                    self.item(side, scope);
                }
                self.condition(&mut join.quals, scope);
            }
            _ => {}
        }
    }

    fn all(&mut self, nodes: &mut [Node], scope: &Scope<'_>) {
        for node in nodes {
            self.expression(node, scope);
        }
    }

    fn maybe(&mut self, node: &mut Option<Box<Node>>, scope: &Scope<'_>) {
        if let Some(node) = node {
            self.expression(node, scope);
        }
    }

    fn expression(&mut self, node: &mut Node, scope: &Scope<'_>) {
        let rule = match self.touch {
            Touch::Expression(rule) => Some(rule),
            Touch::Condition(rule) => Some(rule).filter(|_| self.restricting),
            _ => None,
        };
        if let Some((rewritten, note)) = rule.and_then(|rule| rule(node, scope)) {
            *node = rewritten;
            self.notes.push(note);
            return;
        }
        match &mut node.node {
            Some(NodeEnum::ResTarget(target)) => self.maybe(&mut target.val, scope),
            Some(NodeEnum::SortBy(sort)) => self.maybe(&mut sort.node, scope),
            Some(NodeEnum::BoolExpr(expression)) => self.all(&mut expression.args, scope),
            Some(NodeEnum::AExpr(expression)) => {
                self.maybe(&mut expression.lexpr, scope);
                self.maybe(&mut expression.rexpr, scope);
            }
            Some(NodeEnum::SubLink(link)) => {
                self.maybe(&mut link.testexpr, scope);
                if let Some(query) = link.subselect.as_mut().and_then(|query| query.node.as_mut()) {
                    self.query(query);
                }
            }
            Some(NodeEnum::FuncCall(call)) => {
                self.all(&mut call.args, scope);
                self.maybe(&mut call.agg_filter, scope);
            }
            Some(NodeEnum::TypeCast(cast)) => self.maybe(&mut cast.arg, scope),
            Some(NodeEnum::NullTest(test)) => self.maybe(&mut test.arg, scope),
            Some(NodeEnum::BooleanTest(test)) => self.maybe(&mut test.arg, scope),
            Some(NodeEnum::CoalesceExpr(coalesce)) => self.all(&mut coalesce.args, scope),
            Some(NodeEnum::List(list)) => self.all(&mut list.items, scope),
            Some(NodeEnum::CaseExpr(case)) => {
                self.maybe(&mut case.arg, scope);
                self.all(&mut case.args, scope);
                self.maybe(&mut case.defresult, scope);
            }
            Some(NodeEnum::CaseWhen(when)) => {
                self.maybe(&mut when.expr, scope);
                self.maybe(&mut when.result, scope);
            }
            _ => {}
        }
    }
}
