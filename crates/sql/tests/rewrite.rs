//! Rewrites of any text: none panics, and what is written is one statement that asks for nothing more to rewrite.
#![allow(clippy::unwrap_used, reason = "tests")]

use pgassay_model::Timestamp;
use pgassay_model::index::RelationName;
use pgassay_model::relation::{Column, Relation, RelationActivity};
use pgassay_model::snapshot::{Counters, Server, Snapshot};
use pgassay_model::units::Bytes;
use proptest::prelude::*;

fn shop() -> Snapshot {
    let column = |name: &str, type_name: &str| Column {
        name: name.into(),
        type_name: type_name.into(),
        not_null: true,
        has_default: false,
        c_collation: None,
        statistics: None,
    };
    let relation = |name: &str| Relation {
        oid: 1,
        name: RelationName { schema: "public".into(), name: name.into() },
        kind: 'r',
        pages: 1,
        rows: None,
        size: Bytes(0),
        all_visible_pages: 0,
        columns: vec![
            column("id", "integer"),
            column("Order", "integer"),
            column("at", "timestamp without time zone"),
        ],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        extended_statistics: Vec::new(),
        has_children: false,
        activity: RelationActivity::default(),
    };
    Snapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        server: Server::default(),
        parameters: Default::default(),
        relations: vec![relation("a"), relation("b")],
        statements: None,
        counters: Counters::default(),
        host: None,
        pooler: None,
        views: Vec::new(),
        immutable_functions: Default::default(),
        unseen: Vec::new(),
    }
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "date(a.at) = $1",
        "a.id::text = '7'",
        "$2 < a.\"Order\" + 1",
        "a.id NOT IN (SELECT b.id FROM b WHERE b.id = 1 OR b.\"Order\" = 2)",
        "(SELECT count(*) FROM b WHERE b.id = a.id) > 0",
        "$3 > (SELECT count(*) FROM b WHERE b.id = a.id)",
        "a.id + $4 <= $5",
        "extract(year FROM a.at) = $6",
        "b.id = 3",
        "a.id IS NULL",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|all| format!("({})", all.join(" AND "))),
            prop::collection::vec(inner.clone(), 1..4)
                .prop_map(|all| format!("({})", all.join(" OR "))),
            inner.prop_map(|one| format!("NOT ({one})")),
        ]
    })
}

#[test]
fn names_stay_quoted() {
    let found = pgassay_sql::rewrites("SELECT 1 FROM a WHERE \"Order\" + 1 > 5", &shop()).unwrap();
    assert_eq!(found[0].after, "SELECT 1 FROM a WHERE \"Order\" > 5 - 1");
}

proptest! {
    #[test]
    fn no_text_makes_a_rule_panic(text in "[a-zA-Z0-9_ ,.()'\"$*=<>;:-]{0,80}") {
        let shop = shop();
        let _ = pgassay_sql::rewrites(&text, &shop);
        let _ = pgassay_sql::for_many_keys(&text, &pgassay_sql::Relations::of(&shop));
        let _ = pgassay_sql::without_order_index(&text, &pgassay_sql::Relations::of(&shop));
    }

    #[test]
    fn what_is_rewritten_is_one_statement_to_which_the_rule_applies_no_more(condition in condition()) {
        let shop = shop();
        let sql = format!("SELECT a.id, b.id FROM a JOIN b ON a.id = b.id WHERE {condition}");
        for rewrite in pgassay_sql::rewrites(&sql, &shop).unwrap() {
            let parameters = pgassay_sql::parameter_count(&rewrite.after).unwrap();
            prop_assert!(parameters <= pgassay_sql::parameter_count(&sql).unwrap());
            // An arm of an OR may hold another OR.
            if rewrite.rule != pgassay_sql::Rule::OrAcrossRelations {
                let again = pgassay_sql::rewrites(&rewrite.after, &shop).unwrap();
                prop_assert!(again.iter().all(|other| other.rule != rewrite.rule), "{}", rewrite.after);
            }
        }
    }
}
