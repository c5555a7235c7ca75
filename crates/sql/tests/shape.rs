//! What statements of real applications ask for, found in their parse trees.
#![allow(clippy::unwrap_used, reason = "tests")]

use pgassay_model::index::RelationName;
use pgassay_sql::{Catalog, Operator, ParameterRole, StatementKind, Subject, ValueKind, shape};
use proptest::prelude::*;

struct Shop;

impl Catalog for Shop {
    fn columns(&self, schema: Option<&str>, relation: &str) -> Option<(RelationName, Vec<String>)> {
        let columns: &[&str] = match relation {
            "users" => &["id", "username", "email", "is_active", "created_at"],
            "tokens" => &["id", "user_id", "service", "token_expiry"],
            _ => return None,
        };
        schema.is_none_or(|schema| schema == "public").then(|| {
            let name = RelationName { schema: "public".into(), name: relation.into() };
            (name, columns.iter().map(|column| (*column).to_owned()).collect())
        })
    }
}

fn column(name: &str) -> Subject {
    Subject::Column(name.into())
}

#[test]
fn equality_order_and_limit_are_found() {
    let shape = shape(
        "SELECT * FROM users u WHERE u.is_active AND email = $1 ORDER BY created_at DESC LIMIT $2",
        &Shop,
    )
    .unwrap();
    assert_eq!(shape.kind, StatementKind::Select);
    assert!(!shape.writes && shape.limit);
    let predicates: Vec<_> = shape
        .predicates
        .iter()
        .map(|p| (p.subject.clone(), p.operator.clone(), p.value.clone(), p.in_or))
        .collect();
    assert_eq!(
        predicates,
        [
            (column("is_active"), Operator::Equal, ValueKind::Constant("true".into()), false),
            (column("email"), Operator::Equal, ValueKind::Parameter(1), false),
        ]
    );
    assert_eq!(shape.order[0].subject, column("created_at"));
    assert!(shape.order[0].descending);
    assert_eq!(shape.limit_parameters, [2]);
    assert_eq!(shape.columns_read.len(), 5);
    assert_eq!(shape.parameters[&1].role, ParameterRole::Compared(Operator::Equal));
}

#[test]
fn expressions_are_written_without_qualifiers() {
    let shape =
        shape("SELECT u.id FROM users AS u WHERE lower(u.email) = lower($1)", &Shop).unwrap();
    assert_eq!(shape.predicates[0].subject, Subject::Expression("lower(email)".into()));
    assert_eq!(shape.parameters[&1].subject, Subject::Expression("lower(email)".into()));
}

#[test]
fn joins_of_from_using_and_in_are_found() {
    for sql in [
        "SELECT 1 FROM users u JOIN tokens t ON t.user_id = u.id",
        "SELECT 1 FROM users u, tokens t WHERE u.id = t.user_id",
        "SELECT 1 FROM users WHERE id IN (SELECT user_id FROM tokens WHERE service = 'x')",
        "SELECT 1 FROM users u WHERE EXISTS (SELECT 1 FROM tokens t WHERE t.user_id = u.id)",
    ] {
        let shape = shape(sql, &Shop).unwrap();
        assert_eq!(shape.joins.len(), 1, "{sql}");
        let join = &shape.joins[0];
        let mut sides = [&join.left, &join.right]
            .map(|(relation, column)| format!("{}.{column}", shape.relations[*relation].name.name));
        sides.sort();
        assert_eq!(sides, ["tokens.user_id", "users.id"], "{sql}");
    }
    assert_eq!(shape("SELECT 1 FROM users JOIN tokens USING (id)", &Shop).unwrap().joins.len(), 1);
}

#[test]
fn writes_name_what_they_set_and_where_parameters_go() {
    let update =
        shape("UPDATE tokens SET token_expiry = $1 WHERE user_id = $2 AND service = $3", &Shop)
            .unwrap();
    assert!(update.writes && update.relations[0].target_of_write);
    assert_eq!(update.columns_written, ["token_expiry"]);
    assert_eq!(update.parameters[&1].role, ParameterRole::Assigned);
    assert_eq!(update.parameters[&3].subject, column("service"));
    let insert = shape("INSERT INTO tokens (user_id, service) VALUES ($1, $2)", &Shop).unwrap();
    assert_eq!(insert.parameters[&2].subject, column("service"));
    assert_eq!(insert.parameters[&2].role, ParameterRole::Inserted);
    assert!(shape("SELECT id INTO copied FROM users", &Shop).unwrap().writes);
    let locking = shape("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", &Shop).unwrap();
    assert!(locking.writes);
    let delete = shape("DELETE FROM tokens WHERE token_expiry < $1", &Shop).unwrap();
    assert_eq!(delete.predicates[0].operator, Operator::Range);
    let changing =
        shape("WITH d AS (DELETE FROM tokens RETURNING id) SELECT * FROM d", &Shop).unwrap();
    assert!(changing.writes);
}

#[test]
fn alternatives_do_not_restrict_on_their_own() {
    let shape = shape("SELECT 1 FROM users WHERE email = $1 OR username = $2", &Shop).unwrap();
    assert!(shape.predicates.iter().all(|predicate| predicate.in_or));
}

#[test]
fn lists_between_arrays_and_patterns_are_told_apart() {
    let operators = |condition: &str| {
        shape(&format!("SELECT 1 FROM users WHERE {condition}"), &Shop).unwrap().predicates[0]
            .operator
            .clone()
    };
    assert_eq!(operators("id IN ($1, $2)"), Operator::In);
    assert_eq!(operators("id = ANY ($1)"), Operator::In);
    assert_eq!(operators("created_at BETWEEN $1 AND $2"), Operator::Range);
    assert_eq!(operators("username LIKE 'a%'"), Operator::PrefixLike);
    assert_eq!(operators("username LIKE '%a'"), Operator::OtherLike);
    assert_eq!(operators("username LIKE $1"), Operator::OtherLike);
    assert_eq!(operators("email IS NULL"), Operator::IsNull);
    let list = shape("SELECT 1 FROM users WHERE id IN ($1, $2)", &Shop).unwrap();
    assert_eq!(list.parameters.len(), 2);
}

#[test]
fn unknown_relations_are_listed_and_common_table_expressions_are_none() {
    let shape =
        shape("WITH recent AS (SELECT * FROM users) SELECT * FROM recent, missing.thing", &Shop)
            .unwrap();
    assert_eq!(shape.unknown_relations, ["missing.thing"]);
    assert_eq!(shape.relations.len(), 1);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-zA-Z0-9_ ,.()'\"$*=<>;:-]{0,80}") {
        let _ = shape(&text, &Shop);
        let _ = pgassay_sql::normalise(&text);
        let _ = pgassay_sql::parameter_count(&text);
        let _ = pgassay_sql::quote_identifier(&text);
    }
}
