//! What statements of real applications ask for, found in their parse trees.
#![allow(clippy::unwrap_used, reason = "tests")]

use pgassay_model::index::RelationName;
use pgassay_sql::{
    Catalog, Condition, Operator, ParameterRole, StatementKind, Subject, ValueKind, shape,
};
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

    fn view(&self, _: Option<&str>, view: &str) -> Option<(RelationName, &str)> {
        let definition = match view {
            "active" => {
                "SELECT u.id, u.email AS mail, lower(u.username) AS folded, t.service FROM public.users u \
                 LEFT JOIN public.tokens t ON t.user_id = u.id WHERE u.is_active"
            }
            "above" => "SELECT active.id AS key, active.mail FROM public.active",
            "newest" => {
                "SELECT users.email FROM public.users ORDER BY users.created_at DESC LIMIT 10"
            }
            "counted" => {
                "SELECT tokens.user_id, count(*) AS n FROM public.tokens GROUP BY tokens.user_id"
            }
            "ranked" => {
                "SELECT users.email, rank() OVER (ORDER BY users.id) AS place FROM public.users"
            }
            "either" => {
                "SELECT users.id FROM public.users UNION ALL SELECT tokens.id FROM public.tokens"
            }
            "circle" => "SELECT circle.id FROM public.circle",
            _ => return None,
        };
        Some((RelationName { schema: "public".into(), name: view.into() }, definition))
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
fn the_alternatives_of_an_or_keep_what_each_of_them_asks_for() {
    let condition = "(id = 1 AND email = 'x') OR username = $1 OR NOT (id = 2 OR id = 3)";
    let shape =
        shape(&format!("SELECT 1 FROM users WHERE id = 4 AND ({condition})"), &Shop).unwrap();
    use Condition::{All, Predicate, Unknown};
    let expected = vec![All(vec![Predicate(1), Predicate(2)]), Predicate(3), Unknown];
    assert_eq!(shape.choices, [expected]);
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

fn asks(sql: &str) -> Vec<(String, Subject, Operator)> {
    let shape = shape(sql, &Shop).unwrap();
    let of = |relation: usize| shape.relations[relation].name.name.clone();
    shape
        .predicates
        .iter()
        .map(|p| (of(p.relation), p.subject.clone(), p.operator.clone()))
        .collect()
}

#[test]
fn a_condition_on_a_column_that_a_view_hands_on_is_one_on_the_relations() {
    let active = ("users".to_owned(), column("is_active"), Operator::Equal);
    let mail = ("users".to_owned(), column("email"), Operator::Equal);
    let wanted = [active.clone(), mail.clone()];
    for sql in [
        "SELECT id FROM active WHERE mail = $1",
        "SELECT a.id FROM public.active AS a WHERE a.mail = $1",
        "SELECT x FROM active AS a (x, y) WHERE a.y = $1",
        "SELECT key FROM above WHERE mail = $1",
    ] {
        assert_eq!(asks(sql), wanted, "{sql}");
    }
    let read = shape("SELECT mail FROM active WHERE service = $1 AND folded = $2", &Shop).unwrap();
    assert_eq!(read.views.len(), 1);
    assert!(read.unknown_relations.is_empty());
    assert_eq!(read.predicates.len(), 2, "an expression of the view's is not followed");
    let use_ = &read.parameters[&1];
    assert_eq!((use_.relation.name.as_str(), &use_.subject), ("tokens", &column("service")));
    // What the view hands on and nobody reads is not read.
    assert!(read.columns_read.contains(&(0, "email".into())));
    assert!(!read.columns_read.contains(&(0, "created_at".into())));
    let joined = shape("SELECT 1 FROM above a JOIN tokens t ON t.user_id = a.key", &Shop).unwrap();
    assert_eq!(joined.joins.len(), 2);
    assert_eq!(joined.joins[1].right, (0, "id".into()));
    let everything = shape("SELECT * FROM above", &Shop).unwrap();
    assert!(everything.columns_read.contains(&(0, "email".into())));
}

#[test]
fn no_condition_is_followed_through_a_view_whose_rows_it_would_change() {
    assert_eq!(asks("SELECT 1 FROM newest WHERE email = $1"), []);
    assert_eq!(asks("SELECT 1 FROM ranked WHERE email = $1"), []);
    assert_eq!(asks("SELECT 1 FROM either WHERE id = $1"), []);
    let grouped = [("tokens".to_owned(), column("user_id"), Operator::Equal)];
    assert_eq!(asks("SELECT n FROM counted WHERE user_id = $1"), grouped);
    let ordered = shape("SELECT n FROM counted ORDER BY user_id", &Shop).unwrap();
    assert!(ordered.order.is_empty() && ordered.group.len() == 1);
    // A name that the view has is never one of the statement around it.
    assert_eq!(
        asks("SELECT 1 FROM users WHERE EXISTS (SELECT 1 FROM newest WHERE email = $1)"),
        []
    );
    let circle = shape("SELECT id FROM circle", &Shop).unwrap();
    assert_eq!(circle.unknown_relations, ["public.circle"]);
    let written = shape("UPDATE active SET mail = $1", &Shop).unwrap();
    assert_eq!(written.unknown_relations, ["active"]);
}

#[test]
fn an_operator_between_two_relations_is_told_for_both_sides() {
    let shape =
        shape("SELECT 1 FROM users u, tokens t WHERE u.email @> t.service OR u.id = 1", &Shop)
            .unwrap();
    assert!(shape.operator_joins.is_empty(), "below OR it finds no rows");
    let shape = pgassay_sql::shape(
        "SELECT 1 FROM users u JOIN tokens t ON u.email @> t.service AND u.id <> t.id",
        &Shop,
    )
    .unwrap();
    assert_eq!(shape.operator_joins.len(), 1, "{shape:?}");
    let join = &shape.operator_joins[0];
    assert_eq!(join.sides(), [(0, &column("email"), "@>"), (1, &column("service"), "<@")]);
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
