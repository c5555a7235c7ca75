//! Candidates of access methods other than B-tree, by the operators that their operator classes know.

use super::candidates::{Found, Mention};
use super::opclasses::{self, finds, is_pattern, needs};
use super::wanted::is_on;
use super::{immutable, name, selectivity, size};
use crate::by_partition;
use pgassay_model::index::{Index, IndexDefinition, IndexKey};
use pgassay_sql::{Operator, Predicate, Subject, ValueKind};

/// A hash index is proposed where it takes at most that share of the B-tree's size: it can do nothing but `=`.
const MUCH_SMALLER: f64 = 0.75;
/// A hash index of fewer distinct values than that share of the rows has long chains of equal hashes.
const NEARLY_UNIQUE: f64 = 0.5;
/// Characters in a row that a pattern must have for a trigram to be taken out of it.
const TRIGRAM: usize = 3;
/// The extension of trigram operator classes.
const TRIGRAM_EXTENSION: &str = "pg_trgm";

/// Keys that GIN and GiST could index together.
#[derive(Debug, Default)]
struct Keys {
    gin: Vec<IndexKey>,
    gist: Vec<IndexKey>,
}

impl Mention<'_> {
    /// Adds what other methods could do for the conditions.
    pub(super) fn other_methods(&self, found: &mut Found) {
        let mut keys = Keys::default();
        for predicate in self.predicates() {
            let type_name = self.type_of(&predicate.subject);
            match &predicate.operator {
                Operator::In if type_name.ends_with("[]") => found.obstacles.push(format!(
                    "= ANY ({0}) is not found by any index; written as {0} @> ARRAY[…] a GIN index serves it",
                    text(&predicate.subject)
                )),
                Operator::Equal => self.hash(predicate, found),
                Operator::OtherLike => self.trigram(predicate, found, &mut keys),
                Operator::Other(name) if is_pattern(name) => {
                    self.trigram(predicate, found, &mut keys);
                }
                Operator::Other(name) => {
                    for need in needs(&type_name, name) {
                        let opclass = opclasses::opclass(self.snapshot, &type_name, *need);
                        self.add(found, predicate, need.method, opclass, &mut keys);
                    }
                }
                _ => {}
            }
        }
        self.joins_by_operator(found, &mut keys);
        self.brin(found);
        self.several_keys(keys, found);
        self.overlaps(found);
    }

    /// Indexes with which rows of the other side are looked up in this one: `a.during && b.during`.
    fn joins_by_operator(&self, found: &mut Found, keys: &mut Keys) {
        for join in &self.asked.shape.operator_joins {
            for (mention, subject, operator) in join.sides() {
                if mention != self.mention {
                    continue;
                }
                let type_name = self.type_of(subject);
                for need in needs(&type_name, operator) {
                    let opclass = opclasses::opclass(self.snapshot, &type_name, *need);
                    let condition = Predicate {
                        relation: mention,
                        subject: subject.clone(),
                        operator: Operator::Other(operator.to_owned()),
                        value: ValueKind::Other,
                        in_or: false,
                    };
                    self.add(found, &condition, need.method, opclass, keys);
                }
            }
        }
    }

    /// Columns that are equal to another relation's.
    fn joined(&self) -> impl Iterator<Item = Subject> {
        let sides = self.asked.shape.joins.iter().flat_map(|join| [&join.left, &join.right]);
        let own = sides.filter(|side| side.0 == self.mention);
        own.map(|(_, column)| Subject::Column(column.clone()))
    }

    fn predicates(&self) -> impl Iterator<Item = &Predicate> {
        self.asked.shape.predicates.iter().filter(|known| known.relation == self.mention)
    }

    /// Hash where values are wide.
    fn hash(&self, predicate: &Predicate, found: &mut Found) {
        let Subject::Column(name) = &predicate.subject else { return };
        let Some(statistics) = self.relation.column(name).and_then(|c| c.statistics.as_ref())
        else {
            return;
        };
        let rows = selectivity::rows(self.relation);
        if statistics.distinct(rows) < NEARLY_UNIQUE * rows {
            return;
        }
        let btree = self.definition("btree", vec![self.bare(&predicate.subject, None)]);
        let hash = IndexDefinition { method: "hash".into(), ..btree.clone() };
        let size = |index: &IndexDefinition| size::estimate(self.relation, index, 1.0);
        if size(&hash) <= MUCH_SMALLER * size(&btree) {
            self.push_definition(found, hash);
        }
    }

    /// One index for several conditions: GIN over all that it finds rows by; with btree_gin or btree_gist also over
    /// the plain columns that are compared for equality.
    fn several_keys(&self, keys: Keys, found: &mut Found) {
        for (method, extension, of_method) in
            [("gin", "btree_gin", keys.gin), ("gist", "btree_gist", keys.gist)]
        {
            if of_method.is_empty() {
                continue;
            }
            let installed = self.snapshot.server.extensions.contains_key(extension);
            let mut all: Vec<IndexKey> = Vec::new();
            let plain = |predicate: &&Predicate| {
                predicate.operator == Operator::Equal
                    && !predicate.in_or
                    && opclasses::is_plain(&self.type_of(&predicate.subject))
            };
            if installed {
                let compared = self.predicates().filter(plain).map(|known| known.subject.clone());
                let joined =
                    self.joined().filter(|column| opclasses::is_plain(&self.type_of(column)));
                for subject in compared.chain(joined) {
                    let key = self.bare(&subject, None);
                    if key.column.is_some() && !all.contains(&key) {
                        all.push(key);
                    }
                }
            }
            all.truncate(self.max_width.saturating_sub(1));
            for key in of_method {
                if !all.iter().any(|known| super::cover::same_subject(known, &key)) {
                    all.push(key);
                }
            }
            all.truncate(self.max_width);
            if all.len() > 1 {
                self.push_definition(found, self.definition(method, all));
            }
        }
    }

    /// `(a, b) OVERLAPS (c, d)` is a function to the planner; ranges say the same in a way that GiST serves.
    fn overlaps(&self, found: &mut Found) {
        let words: Vec<&str> = self.asked.statement.sql.split_whitespace().collect();
        let told = words.iter().any(|word| {
            let bare = word.trim_matches(|c| c == '(' || c == ')');
            bare.eq_ignore_ascii_case("overlaps")
        });
        let note = "OVERLAPS is not found by any index; written as tsrange(a, b) && tsrange(c, d) (or with tstzrange, daterange) a GiST index on the first range serves it";
        if told && !found.obstacles.iter().any(|known| known == note) {
            found.obstacles.push(note.into());
        }
    }

    /// A trigram index, where the extension is there; where it could be, what it would take is said.
    fn trigram(&self, predicate: &Predicate, found: &mut Found, keys: &mut Keys) {
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
            self.add(found, predicate, "gin", Some("gin_trgm_ops"), keys);
        } else if server.available_extensions.contains(TRIGRAM_EXTENSION) {
            let mut index =
                self.definition("gin", vec![self.bare(&predicate.subject, Some("gin_trgm_ops"))]);
            let taken = name::taken(self.snapshot, &self.relation.name.schema);
            index.name = name::choose(&index, &taken);
            found.obstacles.push(format!(
                "the pattern on {name} does not begin with constant text, so a B-tree can't find rows by it; a trigram index could: CREATE EXTENSION {TRIGRAM_EXTENSION}; {}",
                by_partition::by_hand(self.relation, &index)
            ));
        } else {
            found.obstacles.push(format!(
                "the pattern on {name} does not begin with constant text, so a B-tree can't find rows by it (a trigram index could, but {TRIGRAM_EXTENSION} is not available on this server)"
            ));
        }
    }

    /// Adds an index on what a condition is about, unless one exists that finds rows by it.
    fn add(
        &self,
        found: &mut Found,
        predicate: &Predicate,
        method: &str,
        opclass: Option<&str>,
        keys: &mut Keys,
    ) {
        if let Subject::Expression(text) = &predicate.subject
            && let Err(reason) = self.immutable(text)
        {
            found.obstacles.push(reason);
            return;
        }
        if let Some(existing) = self.existing(predicate, method) {
            let behind = match &existing.constraint {
                Some(constraint) => format!(", of the constraint {constraint},"),
                None => String::new(),
            };
            let note = format!("{}{behind} exists and serves it", existing.definition.name);
            if !found.obstacles.contains(&note) {
                found.obstacles.push(note);
            }
            return;
        }
        let key = self.bare(&predicate.subject, opclass);
        // Of several operator classes for one subject the best, which comes first, goes into an index of several keys.
        let of_method = if method == "gin" { &mut keys.gin } else { &mut keys.gist };
        let known = |known: &IndexKey| super::cover::same_subject(known, &key);
        if !predicate.in_or && !of_method.iter().any(known) {
            of_method.push(key.clone());
        }
        self.push_definition(found, self.definition(method, vec![key]));
    }

    /// A valid index that finds rows by a condition: GIN by any of its keys, GiST by the first ones that the
    /// statement compares (manual, section 11.3 "Multicolumn Indexes"), an exclusion constraint's as any other.
    fn existing(&self, predicate: &Predicate, method: &str) -> Option<&Index> {
        let finds = |index: &IndexDefinition, key: &IndexKey, predicate: &Predicate| {
            is_on(key, &predicate.subject)
                && finds(index, key, &self.type_of(&predicate.subject), &predicate.operator)
        };
        self.relation.indexes.iter().find(|index| {
            let definition = &index.definition;
            let place = definition.keys.iter().position(|key| finds(definition, key, predicate));
            let reached = |place: usize| {
                method == "gin"
                    || definition.keys.iter().take(place).all(|key| {
                        self.predicates().any(|other| !other.in_or && finds(definition, key, other))
                            || self.joined().any(|column| is_on(key, &column))
                    })
            };
            index.valid
                && definition.predicate.is_none()
                && definition.method == method
                && place.is_some_and(reached)
        })
    }

    /// `to_tsvector` is immutable when its configuration is written out (manual, section 12.2.2), and so are ranges of
    /// columns.
    fn immutable(&self, text: &str) -> Result<(), String> {
        if (text.starts_with("to_tsvector('") && text.contains(','))
            || opclasses::is_range_of_columns(self.relation, text)
        {
            return Ok(());
        }
        immutable::check(self.snapshot, self.relation, text)
    }

    fn definition(&self, method: &str, keys: Vec<IndexKey>) -> IndexDefinition {
        IndexDefinition {
            relation: self.relation.name.clone(),
            name: String::new(),
            method: method.into(),
            unique: false,
            keys,
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
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

    /// The type of a subject; of an expression only what another method than B-tree could index is told.
    pub(super) fn type_of(&self, subject: &Subject) -> String {
        opclasses::type_of(self.relation, subject)
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
    fn a_pattern_of_two_letters_has_no_trigram() {
        assert!(has_trigram("%abc%") && has_trigram("^x.*foo1"));
        assert!(!has_trigram("%ab%") && !has_trigram("%a_b%"));
    }
}
