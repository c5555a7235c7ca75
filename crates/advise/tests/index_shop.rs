//! A shop that reads and writes: what it gets by itself, what it does not get and why, and how large that is built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;
mod shop_support;

use pgassay_advise::index::{IndexAdvice, ProposedIndex};
use pgassay_testkit::shared;
use real_support::{ask_in, build};
use std::collections::HashMap;

const CUSTOMERS: u64 = 4_000;

fn of<'a>(advice: &'a IndexAdvice, relation: &str) -> Vec<&'a ProposedIndex> {
    let all = advice.indexes.iter();
    all.filter(|proposed| proposed.definition.relation.name == relation).collect()
}

fn has(advice: &IndexAdvice, text: &str) -> bool {
    advice.indexes.iter().any(|proposed| proposed.ddl.contains(text))
}

#[test]
fn a_shop_gets_expression_partial_and_covering_indexes_by_itself_and_none_that_its_writers_would_pay_for()
 {
    let database = build(&shop_support::sql(CUSTOMERS), true);
    let advice = ask_in(&database, shop_support::statements(CUSTOMERS));
    assert!(advice.skipped.is_empty(), "{:#?}", advice.skipped);

    assert!(has(&advice, "lower(email)"), "{advice:#?}");
    assert!(has(&advice, "WHERE status = 'open'"), "{advice:#?}");
    let covering = of(&advice, "ledger_entry");
    assert!(
        covering.iter().any(|known| known.definition.include == ["cents"]
            || known.definition.keys.iter().any(|key| key.column.as_deref() == Some("cents"))),
        "{covering:#?}"
    );

    // Read now and then, set with every request.
    let sessions = of(&advice, "login_session");
    assert!(!sessions.is_empty());
    assert!(sessions.iter().all(|known| !known.ddl.contains("last_seen")), "{sessions:#?}");
    let why = advice.rejected.iter().find(|known| known.what.contains("(last_seen)"));
    let why = &why.unwrap_or_else(|| panic!("{:#?}", advice.rejected)).why;
    assert!(why.contains("cost writers") && why.contains("touch_session"), "{why}");
    assert!(why.contains("HOT"), "{why}");
    for column in ["stock", "sold", "requests"] {
        let written = |known: &ProposedIndex| {
            known.definition.keys.iter().any(|key| key.column.as_deref() == Some(column))
                || known.definition.include.iter().any(|include| include == column)
        };
        assert!(!advice.indexes.iter().any(written), "{column}: {advice:#?}");
    }

    let sizes = built(&database, &advice);
    for proposed in &advice.indexes {
        let definition = &proposed.definition;
        let real = sizes[&definition.name];
        let ratio = proposed.size.0 as f64 / real as f64;
        let plain = definition.predicate.is_none()
            && definition.include.is_empty()
            && matches!(definition.keys.as_slice(), [key] if key.column.is_some());
        // A page is 8 kB, whatever is on it: of a few pages one more or less is no error.
        let off = (proposed.size.0.abs_diff(real) / 8192) as f64;
        let allowed = match (definition.method.as_str(), plain) {
            ("btree", true) => 0.10,
            ("btree", false) => 0.25,
            _ => 1.0,
        };
        assert!(
            (ratio - 1.0).abs() <= allowed || off <= 1.0,
            "{}: estimated {}, built {real}, {ratio:.3}",
            proposed.ddl,
            proposed.size.0
        );
    }
}

/// Builds what is proposed; real sizes by name.
fn built(database: &str, advice: &IndexAdvice) -> HashMap<String, u64> {
    let server = shared();
    for proposed in &advice.indexes {
        server.execute(database, &proposed.ddl.replace(" CONCURRENTLY", "")).unwrap();
    }
    let sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind = 'i'";
    let row = |row: Vec<Option<String>>| -> (String, u64) {
        (row[0].clone().unwrap(), row[1].as_deref().unwrap().parse().unwrap())
    };
    server.query(database, sizes).unwrap().into_iter().map(row).collect()
}
