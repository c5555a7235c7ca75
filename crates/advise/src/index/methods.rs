//! Candidates of access methods other than B-tree, by the operators that their operator classes know (manual,
//! chapters "GIN Indexes", "GiST Indexes", "BRIN Indexes", "Hash Indexes", and appendix "pg_trgm").

use super::candidates::{Found, Mention};
use super::{immutable, selectivity, size};
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_sql::{Operator, Predicate, Subject};

/// A hash index is proposed where it takes at most that share of the B-tree's size: it can do nothing but `=`.
const MUCH_SMALLER: f64 = 0.75;
/// A hash index of fewer distinct values than that share of the rows has long chains of equal hashes.
const NEARLY_UNIQUE: f64 = 0.5;
/// BRIN skips ranges of pages only where values lie in order on disk.
const CORRELATED: f64 = 0.9;
/// Pages from which a BRIN index has ranges enough to skip: 16 of 128 pages.
const MANY_PAGES: u64 = 16 * 128;
/// Characters in a row that a pattern must have for a trigram to be taken out of it.
const TRIGRAM: usize = 3;
/// The extension of trigram operator classes.
const TRIGRAM_EXTENSION: &str = "pg_trgm";

/// What an operator on a type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    method: &'static str,
    opclass: Option<&'static str>,
}

const fn need(method: &'static str, opclass: Option<&'static str>) -> Need {
    Need { method, opclass }
}

/// Access methods that find rows by an operator on a type, the best first.
fn needs(type_name: &str, operator: &str) -> &'static [Need] {
    const PATH: &[Need] = &[need("gin", Some("jsonb_path_ops")), need("gin", None)];
    const GIN: &[Need] = &[need("gin", None)];
    const GIST: &[Need] = &[need("gist", None)];
    let is_range = type_name.ends_with("range");
    match (type_name, operator) {
        ("jsonb", "@>" | "@?" | "@@") => PATH,
        ("jsonb", "?" | "?|" | "?&") => GIN,
        ("tsvector", "@@") => GIN,
        (array, "@>" | "<@" | "&&") if array.ends_with("[]") => GIN,
        (_, "@>" | "<@" | "&&" | "<<" | ">>" | "-|-" | "&<" | "&>") if is_range => GIST,
        _ => &[],
    }
}

/// Whether a condition on a column of that type is one for GIN or GiST, so that no B-tree need be excused.
pub(super) fn is_theirs(type_name: &str, operator: &Operator) -> bool {
    match operator {
        Operator::Other(name) => !needs(type_name, name).is_empty(),
        _ => false,
    }
}

/// Whether an index of another method than B-tree finds rows by a condition on its key.
pub(super) fn finds(index: &IndexDefinition, type_name: &str, operator: &Operator) -> bool {
    let opclass = index.keys.first().and_then(|key| key.opclass.as_deref());
    match (index.method.as_str(), operator) {
        ("hash", Operator::Equal | Operator::In) => true,
        ("brin", Operator::Equal | Operator::In | Operator::Range) => true,
        ("gin", Operator::PrefixLike | Operator::OtherLike) => opclass == Some("gin_trgm_ops"),
        ("gin", Operator::Other(name)) if opclass == Some("gin_trgm_ops") => is_pattern(name),
        ("gin" | "gist", Operator::Other(name)) => needs(type_name, name).iter().any(|need| {
            need.method == index.method && (need.opclass.is_none() || need.opclass == opclass)
        }),
        _ => false,
    }
}

/// ILIKE and regular expressions.
fn is_pattern(operator: &str) -> bool {
    matches!(operator, "~~*" | "~" | "~*")
}

impl Mention<'_> {
    /// Adds what other methods could do for the conditions.
    pub(super) fn other_methods(&self, found: &mut Found) {
        let of_mention =
            self.asked.shape.predicates.iter().filter(|known| known.relation == self.mention);
        for predicate in of_mention {
            let type_name = self.type_of(&predicate.subject);
            match &predicate.operator {
                Operator::In if type_name.ends_with("[]") => found.obstacles.push(format!(
                    "= ANY ({0}) is not found by any index; written as {0} @> ARRAY[…] a GIN index serves it",
                    text(&predicate.subject)
                )),
                Operator::Equal | Operator::In | Operator::Range => self.simple(predicate, found),
                Operator::OtherLike => self.trigram(predicate, found),
                Operator::Other(name) if is_pattern(name) => self.trigram(predicate, found),
                Operator::Other(name) => {
                    for need in needs(&type_name, name) {
                        self.add(found, predicate, need.method, need.opclass);
                    }
                }
                _ => {}
            }
        }
    }

    /// BRIN where values lie in order, hash where values are wide.
    fn simple(&self, predicate: &Predicate, found: &mut Found) {
        let Subject::Column(name) = &predicate.subject else { return };
        let Some(statistics) = self.relation.column(name).and_then(|c| c.statistics.as_ref())
        else {
            return;
        };
        let correlated = statistics.correlation.is_some_and(|known| known.abs() >= CORRELATED);
        if correlated && self.relation.pages >= MANY_PAGES && !predicate.in_or {
            self.add(found, predicate, "brin", None);
        }
        let rows = selectivity::rows(self.relation);
        if predicate.operator == Operator::Equal
            && statistics.distinct(rows) >= NEARLY_UNIQUE * rows
        {
            let btree = self.definition("btree", self.bare(&predicate.subject, None));
            let hash = IndexDefinition { method: "hash".into(), ..btree.clone() };
            let size = |index: &IndexDefinition| size::estimate(self.relation, index, 1.0);
            if size(&hash) <= MUCH_SMALLER * size(&btree) {
                self.add(found, predicate, "hash", None);
            }
        }
    }

    /// A trigram index, where the extension is there; where it could be, what it would take is said.
    fn trigram(&self, predicate: &Predicate, found: &mut Found) {
        let name = text(&predicate.subject);
        let values = selectivity::values(self.asked.statement, predicate);
        if !values.is_empty() && !values.iter().all(|value| has_trigram(value)) {
            found.obstacles.push(format!(
                "the pattern on {name} has no {TRIGRAM} characters in a row, so that not even a trigram index could find rows by it"
            ));
            return;
        }
        let server = &self.snapshot.server;
        if server.extensions.contains_key(TRIGRAM_EXTENSION) {
            self.add(found, predicate, "gin", Some("gin_trgm_ops"));
        } else if server.available_extensions.contains(TRIGRAM_EXTENSION) {
            let index = IndexDefinition {
                name: format!("{}_{}_gin_idx", self.relation.name.name, name.replace(' ', "")),
                ..self.definition("gin", self.bare(&predicate.subject, Some("gin_trgm_ops")))
            };
            found.obstacles.push(format!(
                "the pattern on {name} does not begin with constant text, so a B-tree can't find rows by it; a trigram index could: CREATE EXTENSION {TRIGRAM_EXTENSION}; {}",
                pgassay_sql::index_ddl(&index, true)
            ));
        } else {
            found.obstacles.push(format!(
                "the pattern on {name} does not begin with constant text, so a B-tree can't find rows by it (a trigram index could, but {TRIGRAM_EXTENSION} is not available on this server)"
            ));
        }
    }

    fn add(&self, found: &mut Found, predicate: &Predicate, method: &str, opclass: Option<&str>) {
        if let Subject::Expression(text) = &predicate.subject
            && let Err(reason) = self.immutable(text)
        {
            found.obstacles.push(reason);
            return;
        }
        self.push_definition(
            found,
            self.definition(method, self.bare(&predicate.subject, opclass)),
        );
    }

    /// `to_tsvector` is immutable when its configuration is written out (manual, section 12.2.2).
    fn immutable(&self, text: &str) -> Result<(), String> {
        if text.starts_with("to_tsvector('") && text.contains(',') {
            return Ok(());
        }
        immutable::check(self.relation, text)
    }

    fn definition(&self, method: &str, key: IndexKey) -> IndexDefinition {
        IndexDefinition {
            relation: self.relation.name.clone(),
            name: String::new(),
            method: method.into(),
            unique: false,
            keys: vec![key],
            include: Vec::new(),
            predicate: None,
        }
    }

    fn bare(&self, subject: &Subject, opclass: Option<&str>) -> IndexKey {
        let opclass = opclass.map(str::to_owned);
        match subject {
            Subject::Column(name) => IndexKey { opclass, ..IndexKey::column(name.as_str()) },
            Subject::Expression(text) => IndexKey {
                column: None,
                expression: Some(text.clone()),
                opclass,
                ..IndexKey::column("")
            },
        }
    }

    /// The type of a subject; of an expression only `tsvector` is told.
    pub(super) fn type_of(&self, subject: &Subject) -> String {
        type_of(self.relation, subject)
    }
}

/// The type of a subject; of an expression only `tsvector` is told.
pub(super) fn type_of(relation: &pgassay_model::relation::Relation, subject: &Subject) -> String {
    match subject {
        Subject::Column(name) => {
            relation.column(name).map_or(String::new(), |column| column.type_name.clone())
        }
        Subject::Expression(text) if text.starts_with("to_tsvector(") => "tsvector".into(),
        Subject::Expression(_) => String::new(),
    }
}

fn text(subject: &Subject) -> &str {
    match subject {
        Subject::Column(name) => name,
        Subject::Expression(text) => text,
    }
}

/// Whether a pattern has letters or digits enough in a row.
fn has_trigram(pattern: &str) -> bool {
    let mut run = 0;
    pattern.chars().any(|c| {
        run = if c.is_alphanumeric() { run + 1 } else { 0 };
        run >= TRIGRAM
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_served_by_the_method_whose_operator_class_knows_it() {
        assert_eq!(needs("jsonb", "@>").len(), 2);
        assert_eq!(needs("jsonb", "?"), [need("gin", None)]);
        assert_eq!(needs("text[]", "&&"), [need("gin", None)]);
        assert_eq!(needs("tstzrange", "&&"), [need("gist", None)]);
        assert!(needs("jsonb", "<@").is_empty() && needs("text", "@@").is_empty());
    }

    #[test]
    fn a_pattern_of_two_letters_has_no_trigram() {
        assert!(has_trigram("%abc%") && has_trigram("^x.*foo1"));
        assert!(!has_trigram("%ab%") && !has_trigram("%a_b%"));
    }
}
