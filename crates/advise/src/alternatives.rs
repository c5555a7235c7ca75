//! One condition, two remedies: a statement asked in another form, and an index on what it asks by now. Whoever takes
//! the one does not need the other, and the rewrite says so.

use crate::index::cover::normal;
use crate::index::{IndexAdvice, ProposedIndex};
use crate::rewrites::StatementRewrite;
use pgassay_sql::Rule;

/// The rewrites, each that a proposed index makes needless with a word of it.
pub(crate) fn named(
    rewrites: Vec<StatementRewrite>,
    advice: Option<&IndexAdvice>,
) -> Vec<StatementRewrite> {
    let indexes = advice.map_or(&[][..], |advice| &advice.indexes);
    rewrites
        .into_iter()
        .map(|mut rewrite| {
            if let Some(index) = indexes.iter().find(|index| serves(index, &rewrite)) {
                rewrite.reason.push_str(&format!(
                    "; the alternative, proposed as well, is to leave the statement as it is and build {}: the one or the other, not both",
                    index.ddl
                ));
            }
            rewrite
        })
        .collect()
}

/// Whether an index is for the condition that a rewrite changes.
fn serves(index: &ProposedIndex, rewrite: &StatementRewrite) -> bool {
    if !index.statements.contains(&rewrite.statement) {
        return false;
    }
    let keys = &index.definition.keys;
    if rewrite.rule == Rule::LeadingWildcard {
        return keys.iter().any(|key| {
            key.opclass.as_deref().is_some_and(|opclass| opclass.ends_with("_trgm_ops"))
        });
    }
    let asked = plain(&rewrite.before);
    let after = rewrite.after.as_deref().map(plain);
    rewrite.rule.lets_an_index_serve()
        && keys.iter().filter_map(|key| key.expression.as_deref()).any(|expression| {
            let expression = plain(expression);
            asked.contains(&expression)
                && after.as_ref().is_none_or(|after| !after.contains(&expression))
        })
}

/// A text as [`normal`] leaves it, in lower case and without the relations that columns are qualified by.
fn plain(text: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut plain = String::new();
    for character in normal(text).to_lowercase().chars() {
        let before = plain.trim_end_matches(word).len();
        // A number's point stands after digits.
        let qualified =
            plain.get(before..).is_some_and(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
        if character == '.' && qualified {
            plain.truncate(before);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
    use pgassay_model::units::Bytes;

    #[test]
    fn a_rewrite_names_the_index_on_the_same_expression_and_no_other() {
        let index = |expression: &str| ProposedIndex {
            definition: IndexDefinition {
                relation: RelationName { schema: "public".into(), name: "events".into() },
                name: "i".into(),
                method: "btree".into(),
                unique: false,
                keys: vec![IndexKey {
                    column: None,
                    expression: Some(expression.into()),
                    ..IndexKey::column("")
                }],
                include: Vec::new(),
                predicate: None,
                pages_per_range: None,
            },
            ddl: "CREATE INDEX i".into(),
            size: Bytes(0),
            benefit: 0.5,
            write_cost: 0.0,
            statements: vec!["day".into()],
            by_rule: false,
            reason: String::new(),
            warning: None,
        };
        let rewrite = StatementRewrite {
            statement: "day".into(),
            rule: Rule::FunctionOnColumn,
            before: "SELECT * FROM events e WHERE date_trunc('day', e.at) = $1".into(),
            after: Some("SELECT * FROM events e WHERE e.at >= $1 AND e.at < $1 + '1 day'".into()),
            check: None,
            reason: "a function hides the column".into(),
            costs: None,
        };
        let reason = |expression: &str| {
            let mut advice = IndexAdvice {
                engine: String::new(),
                estimates: String::new(),
                what_if_calls: 0,
                cost_before: 0.0,
                cost_after: 0.0,
                indexes: vec![index(expression)],
                rejected: Vec::new(),
                considered: Vec::new(),
                skipped: Vec::new(),
            };
            let told = named(vec![rewrite.clone()], Some(&advice));
            advice.indexes.clear();
            let silent = named(vec![rewrite.clone()], Some(&advice));
            assert!(silent.iter().all(|known| known.reason == rewrite.reason));
            told.into_iter().map(|known| known.reason).collect::<String>()
        };
        assert!(
            reason("date_trunc('day', at)").contains("build CREATE INDEX i: the one or the other")
        );
        assert!(!reason("lower(name)").contains("CREATE INDEX"));
    }
}
