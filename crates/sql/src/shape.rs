//! What a statement asks for: relations, predicates, joins, order, and where its parameters go.

use crate::SqlError;
use crate::relations::meant;
use crate::walk::{Walk, commutator};
use pgassay_model::index::RelationName;
use pgassay_model::relation::{Relation, View};
use pgassay_model::snapshot::Snapshot;
use std::collections::BTreeMap;

/// Resolves names of relations.
pub trait Catalog {
    /// The relation meant by a name, with its columns; None when unknown.
    fn columns(&self, schema: Option<&str>, relation: &str) -> Option<(RelationName, Vec<String>)>;

    /// The view meant by a name, with its query; None when unknown.
    fn view(&self, _schema: Option<&str>, _view: &str) -> Option<(RelationName, &str)> {
        None
    }
}

/// `public` first, then the only one of that name in any schema. [`crate::Relations`] finds them sooner.
impl Catalog for Snapshot {
    fn columns(&self, schema: Option<&str>, relation: &str) -> Option<(RelationName, Vec<String>)> {
        let named: Vec<&Relation> =
            self.relations.iter().filter(|known| known.name.name == relation).collect();
        let found = meant(&named, schema, |known| &known.name.schema)?;
        Some((found.name.clone(), found.columns.iter().map(|column| column.name.clone()).collect()))
    }

    fn view(&self, schema: Option<&str>, view: &str) -> Option<(RelationName, &str)> {
        let named: Vec<&View> = self.views.iter().filter(|known| known.name.name == view).collect();
        let found = meant(&named, schema, |known| &known.name.schema)?;
        Some((found.name.clone(), &found.definition))
    }
}

/// Kind of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatementKind {
    /// SELECT, VALUES.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// Anything else.
    #[default]
    Utility,
}

/// What a statement asks for. Indexes of relations refer to `relations`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatementShape {
    /// Kind of the outermost statement.
    pub kind: StatementKind,
    /// Whether it changes or locks rows.
    pub writes: bool,
    /// Known relations it names, in order; one entry for each mention.
    pub relations: Vec<RelationUse>,
    /// Conditions on one relation.
    pub predicates: Vec<Predicate>,
    /// The alternatives of every OR that is below no other and no NOT.
    pub choices: Vec<Vec<Condition>>,
    /// Equalities between columns of two relations.
    pub joins: Vec<Join>,
    /// Other operators between two relations: `a.during && b.during`.
    pub operator_joins: Vec<OperatorJoin>,
    /// ORDER BY.
    pub order: Vec<OrderKey>,
    /// GROUP BY and DISTINCT columns.
    pub group: Vec<(usize, String)>,
    /// Whether a LIMIT stands somewhere.
    pub limit: bool,
    /// Columns read anywhere.
    pub columns_read: Vec<(usize, String)>,
    /// Columns of the written relation that are set.
    pub columns_written: Vec<String>,
    /// What each `$n` is compared with or put into, where that is a column or an expression of one relation.
    pub parameters: BTreeMap<usize, ParameterUse>,
    /// `$n` in LIMIT or OFFSET.
    pub limit_parameters: Vec<usize>,
    /// Relations named that the catalog does not know.
    pub unknown_relations: Vec<String>,
    /// Views named, in the statement or in one of them, that were looked through: what they ask for is in the rest.
    pub views: Vec<RelationName>,
}

/// One mention of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationUse {
    /// The relation.
    pub name: RelationName,
    /// Its alias, or its name.
    pub alias: String,
    /// Whether this mention is the target of INSERT, UPDATE, DELETE or MERGE.
    pub target_of_write: bool,
}

/// What a condition is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A column.
    Column(String),
    /// An expression over columns of the relation, columns unqualified.
    Expression(String),
}

/// A condition on one relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// Which mention of a relation.
    pub relation: usize,
    /// What is compared.
    pub subject: Subject,
    /// How.
    pub operator: Operator,
    /// With what.
    pub value: ValueKind,
    /// Below an OR or a NOT, so that it does not restrict on its own.
    pub in_or: bool,
}

/// What is asked below an OR.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A place in `predicates`.
    Predicate(usize),
    /// AND.
    All(Vec<Condition>),
    /// OR.
    Any(Vec<Condition>),
    /// What the shape does not tell: a subquery, NOT, a comparison of several relations.
    Unknown,
}

/// How a condition compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `IN (…)`, `= ANY (…)`
    In,
    /// `<`, `<=`, `>`, `>=`, `BETWEEN`
    Range,
    /// `IS NULL`
    IsNull,
    /// `IS NOT NULL`
    IsNotNull,
    /// `<>`
    NotEqual,
    /// `LIKE 'constant%'`
    PrefixLike,
    /// Any other LIKE.
    OtherLike,
    /// Another operator, by its name.
    Other(String),
}

/// What a condition compares with.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    /// `$n`
    Parameter(usize),
    /// A constant, as SQL.
    Constant(String),
    /// Anything else.
    Other,
}

/// An equality between columns of two relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// One side.
    pub left: (usize, String),
    /// The other.
    pub right: (usize, String),
}

/// An operator other than an equality or inequality between two relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorJoin {
    /// One side.
    pub left: (usize, Subject),
    /// The operator's name, as from left to right.
    pub operator: String,
    /// The other side.
    pub right: (usize, Subject),
}

impl OperatorJoin {
    /// Each side, with the operator as it reads from there.
    pub fn sides(&self) -> [(usize, &Subject, &str); 2] {
        let (left, right) = (&self.left, &self.right);
        [(left.0, &left.1, &self.operator), (right.0, &right.1, commutator(&self.operator))]
    }
}

/// One key of an ORDER BY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    /// Which mention of a relation.
    pub relation: usize,
    /// What is ordered by.
    pub subject: Subject,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST or LAST, where said.
    pub nulls_first: Option<bool>,
}

/// Where a parameter goes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterUse {
    /// The relation.
    pub relation: RelationName,
    /// The column or expression.
    pub subject: Subject,
    /// What for.
    pub role: ParameterRole,
}

/// What a parameter is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterRole {
    /// Compared.
    Compared(Operator),
    /// The array of `= ANY ($n)`.
    AnyOf,
    /// SET column = $n.
    Assigned,
    /// VALUES ($n).
    Inserted,
}

/// Reads what a statement asks for. Relations that the catalog does not know are listed and left out.
pub fn shape(sql: &str, catalog: &dyn Catalog) -> Result<StatementShape, SqlError> {
    let parsed = pg_query::parse(sql, 0)?;
    let [statement] = parsed.protobuf.stmts.as_slice() else {
        return Err(SqlError::Count(parsed.protobuf.stmts.len()));
    };
    let mut walk = Walk::new(catalog);
    if let Some(node) = statement.stmt.as_ref().and_then(|node| node.node.as_ref()) {
        walk.statement(node);
    }
    Ok(walk.finish())
}
