//! Indexes of every access method on a real server: proposed, built, used and cheaper.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;

use pgassay_advise::index::IndexAdvice;
use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::shared;
use real_support::{ask_in, build};

/// 20,000 events: wide unique tokens, moments in the order of insertion, documents, tags, periods and text.
const EVENTS: &str = "
    CREATE TABLE events (
        id integer PRIMARY KEY,
        token text NOT NULL,
        at timestamp NOT NULL,
        kind integer NOT NULL,
        document jsonb NOT NULL,
        tags text[] NOT NULL,
        period int4range NOT NULL,
        words tsvector NOT NULL,
        body text NOT NULL
    );
    INSERT INTO events
    SELECT i,
        md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text),
        timestamp '2024-01-01' + i * interval '1 minute',
        (i * 7919) % 1000,
        jsonb_build_object('user', i % 2000, 'page', 'page ' || i % 37),
        ARRAY['tag' || i % 3000, 'common' || i % 3],
        int4range(i * 10, i * 10 + 15),
        to_tsvector('english', 'word' || i % 4000 || ' and some more'),
        'message ' || md5((i % 5000)::text) || ' was sent'
    FROM generate_series(1, 20000) i;";

fn statement(sql: &str, values: &[&str]) -> WorkloadStatement {
    WorkloadStatement {
        id: "asked".into(),
        sql: sql.into(),
        weight: 1.0,
        parameters: values.iter().map(|value| vec![Some((*value).to_owned())]).collect(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

/// Advises on one statement, builds what is proposed, and holds the planner's plan against the promise.
fn proposed(extension: &str, hypopg: bool, sql: &str, values: &[&str]) -> IndexAdvice {
    let database = build(&format!("{extension}{EVENTS}"), hypopg);
    let advice = ask_in(&database, vec![statement(sql, values)]);
    let server = shared();
    for index in &advice.indexes {
        server.execute(&database, &index.ddl.replace(" CONCURRENTLY", "")).unwrap();
    }
    let mut text = sql.to_owned();
    if let Some(value) = values.first() {
        text = text.replace("$1", &format!("'{value}'"));
    }
    let plan = server.query(&database, &format!("EXPLAIN {text}")).unwrap();
    let plan: Vec<String> = plan.into_iter().flatten().flatten().collect();
    let plan = plan.join("\n");
    for index in &advice.indexes {
        assert!(plan.contains(&index.definition.name), "{plan}\n{advice:#?}");
    }
    let after = ask_in(&database, vec![statement(sql, values)]);
    assert!(
        advice.indexes.is_empty() || after.cost_before < advice.cost_before / 2.0,
        "{} {}\n{plan}",
        advice.cost_before,
        after.cost_before
    );
    assert!(after.indexes.is_empty(), "nothing is left to propose: {after:#?}");
    advice
}

fn methods(advice: &IndexAdvice) -> Vec<&str> {
    advice.indexes.iter().map(|index| index.definition.method.as_str()).collect()
}

#[test]
fn documents_arrays_and_texts_get_gin_labelled_as_estimated_by_rules_where_the_engine_cannot_plan_it()
 {
    for (sql, value, ddl) in [
        (
            "SELECT id FROM events WHERE document @> $1",
            "{\"user\": 77}",
            "USING gin (document jsonb_path_ops)",
        ),
        ("SELECT id FROM events WHERE tags @> $1", "{tag77}", "USING gin (tags)"),
        ("SELECT id FROM events WHERE tags && $1", "{tag77,tag78}", "USING gin (tags)"),
        (
            "SELECT id FROM events WHERE words @@ to_tsquery('english', $1)",
            "word77",
            "USING gin (words)",
        ),
    ] {
        let advice = proposed("", true, sql, &[value]);
        assert_eq!(methods(&advice), ["gin"], "{advice:#?}");
        let index = &advice.indexes[0];
        assert!(index.ddl.contains(ddl), "{}", index.ddl);
        assert!(index.reason.contains("rule from statistics: hypopg can't plan with gin"));
    }
}

#[test]
fn without_an_engine_rules_propose_gin_too() {
    let advice =
        proposed("", false, "SELECT id FROM events WHERE document @> $1", &["{\"user\": 77}"]);
    assert_eq!(methods(&advice), ["gin"], "{advice:#?}");
}

#[test]
fn text_searched_in_its_full_text_form_gets_gin_on_that_expression() {
    let sql =
        "SELECT id FROM events WHERE to_tsvector('english', body) @@ to_tsquery('english', $1)";
    let advice = proposed("", true, sql, &["message & 1679091c5a880faf6fb5e6087eb1b2dc"]);
    assert_eq!(methods(&advice), ["gin"], "{advice:#?}");
    assert!(advice.indexes[0].ddl.contains("to_tsvector('english', body)"));
}

#[test]
fn patterns_inside_text_get_trigrams_where_the_extension_is_and_are_told_of_it_where_it_could_be() {
    for sql in
        ["SELECT id FROM events WHERE body LIKE $1", "SELECT id FROM events WHERE body ILIKE $1"]
    {
        let advice = proposed("CREATE EXTENSION pg_trgm;", true, sql, &["%1679091c5a880faf%"]);
        assert_eq!(methods(&advice), ["gin"], "{advice:#?}");
        assert!(advice.indexes[0].ddl.contains("gin_trgm_ops"));
    }
    let sql = "SELECT id FROM events WHERE body LIKE $1";
    let advice = proposed("", true, sql, &["%1679091c5a880faf%"]);
    assert!(advice.indexes.is_empty());
    let why = &advice.rejected[0].why;
    assert!(
        why.contains("CREATE EXTENSION pg_trgm; CREATE INDEX CONCURRENTLY")
            && why.contains("gin_trgm_ops"),
        "{why}"
    );
}

#[test]
fn periods_that_overlap_are_found_by_gist() {
    let sql = "SELECT id FROM events WHERE period && $1";
    let advice = proposed("", true, sql, &["[70000,70003)"]);
    assert_eq!(methods(&advice), ["gist"], "{advice:#?}");
}

#[test]
fn long_values_compared_for_equality_get_a_hash_index() {
    let sql = "SELECT id FROM events WHERE token = $1";
    let advice = proposed("", true, sql, &["x"]);
    assert_eq!(methods(&advice), ["hash"], "{advice:#?}");
}

#[test]
fn values_in_order_on_disk_get_a_brin_index_where_space_counts() {
    // Ranges of 128 pages: the relation has to have many of them.
    let wide = EVENTS.replace("'message '", "repeat(md5(i::text), 30) || 'message '");
    let sql = "SELECT count(*) FROM events WHERE at BETWEEN '2024-01-10' AND '2024-01-14'";
    let database = build(&wide, true);
    let advice = real_support::ask_within(&database, vec![statement(sql, &[])], 200 << 10);
    assert_eq!(methods(&advice), ["brin"], "{advice:#?}");
    let server = shared();
    server.execute(&database, &advice.indexes[0].ddl.replace(" CONCURRENTLY", "")).unwrap();
    let plan = server.query(&database, &format!("EXPLAIN {sql}")).unwrap();
    let plan: Vec<String> = plan.into_iter().flatten().flatten().collect();
    assert!(plan.join("\n").contains(&advice.indexes[0].definition.name), "{plan:#?}");
}

#[test]
fn a_value_sought_in_an_array_by_any_is_told_how_to_ask_instead() {
    let sql = "SELECT id FROM events WHERE $1 = ANY (tags)";
    let advice = proposed("", true, sql, &["tag77"]);
    assert!(advice.indexes.is_empty());
    assert!(advice.rejected[0].why.contains("tags @> ARRAY"), "{:#?}", advice.rejected);
}

#[test]
fn a_partitioned_table_is_told_how_its_index_is_built_partition_by_partition() {
    let schema = "
        CREATE TABLE measured (at date NOT NULL, sensor integer NOT NULL, value integer)
            PARTITION BY RANGE (at);
        CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
        CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
        INSERT INTO measured SELECT date '2024-01-01' + i % 60, i % 5000, i FROM generate_series(1, 20000) i;";
    let database = build(schema, true);
    let sql = "SELECT value FROM measured WHERE sensor = $1";
    let advice = ask_in(&database, vec![statement(sql, &["77"])]);
    assert!(advice.indexes.is_empty());
    let why = &advice.rejected[0].why;
    let parent = why
        .split("; and for each partition")
        .next()
        .and_then(|text| text.split("who writes: ").nth(1))
        .unwrap_or_else(|| panic!("{why}"));
    assert!(
        parent.starts_with("CREATE INDEX measured_sensor_idx ON ONLY public.measured"),
        "{parent}"
    );
    let server = shared();
    server.execute(&database, parent).unwrap();
    for partition in ["measured_1", "measured_2"] {
        let rest = why.split("for each partition p: ").nth(1).unwrap();
        for ddl in rest.split("; ") {
            let ddl = ddl
                .replace("p_idx", &format!("{partition}_idx"))
                .replace(" ON p ", &format!(" ON {partition} "));
            server.execute(&database, &ddl).unwrap();
        }
    }
    let valid = server
        .query(
            &database,
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'measured_sensor_idx'::regclass",
        )
        .unwrap();
    assert_eq!(valid[0][0].as_deref(), Some("t"));
}

#[test]
fn the_index_behind_an_exclusion_constraint_serves_look_ups_and_stays_where_another_is_the_same() {
    let schema = "
        CREATE EXTENSION btree_gist;
        CREATE TABLE bookings (room integer NOT NULL, during tsrange NOT NULL, guest text,
            CONSTRAINT once EXCLUDE USING gist (room WITH =, during WITH &&));
        INSERT INTO bookings SELECT i % 5, tsrange(timestamp '2024-01-01' + (i / 5) * interval '1 day',
            timestamp '2024-01-02' + (i / 5) * interval '1 day'), 'guest ' || i FROM generate_series(1, 10000) i;
        CREATE INDEX bookings_again ON bookings USING gist (room, during);";
    let database = build(schema, false);
    let asked = |sql: &str| ask_in(&database, vec![statement(sql, &[])]);
    let both = asked(
        "SELECT guest FROM bookings WHERE room = 3 AND during && tsrange('2024-03-01', '2025-06-02')",
    );
    assert!(both.indexes.is_empty(), "{both:#?}");
    let why = &both.rejected[0].why;
    assert!(why.contains("once") || why.contains("bookings_again"), "{why}");
    let drops = real_support::drops(&database);
    let dropped: Vec<&str> = drops.iter().map(|drop| drop.index.as_str()).collect();
    assert_eq!(dropped, ["bookings_again"], "{drops:#?}");
}

#[test]
fn overlaps_is_told_to_be_written_as_ranges_which_gist_serves() {
    let schema = "
        CREATE TABLE stays (id integer, begins timestamp NOT NULL, ends timestamp NOT NULL);
        INSERT INTO stays SELECT i, timestamp '2024-01-01' + i * interval '1 hour',
            timestamp '2024-01-02' + i * interval '1 hour' FROM generate_series(1, 20000) i;";
    let database = build(schema, true);
    let by_function = "SELECT id FROM stays WHERE (begins, ends) OVERLAPS (timestamp '2024-03-01', timestamp '2024-03-02')";
    let advice = ask_in(&database, vec![statement(by_function, &[])]);
    assert!(advice.indexes.is_empty());
    assert!(advice.rejected[0].why.contains("tsrange(a, b) && tsrange(c, d)"), "{advice:#?}");
    let by_ranges =
        "SELECT id FROM stays WHERE tsrange(begins, ends) && tsrange('2024-03-01', '2024-03-02')";
    let advice = ask_in(&database, vec![statement(by_ranges, &[])]);
    assert_eq!(methods(&advice), ["gist"], "{advice:#?}");
    assert!(advice.indexes[0].ddl.contains("tsrange(begins, ends)"));
}

#[test]
fn what_gin_costs_writers_is_an_estimate_that_names_the_pending_list() {
    let database = build(EVENTS, true);
    let read = statement("SELECT id FROM events WHERE tags @> $1", &["{tag77}"]);
    let write = WorkloadStatement {
        id: "write".into(),
        weight: 10.0,
        writes: true,
        ..statement(
            "INSERT INTO events SELECT 30001, 'x', now(), 1, '{}', ARRAY['a', 'b'], '[1,2)', '', 'y'",
            &[],
        )
    };
    let advice = ask_in(&database, vec![read, write]);
    let [index] = advice.indexes.as_slice() else { panic!("{advice:#?}") };
    assert_eq!(index.definition.method, "gin");
    assert!(index.write_cost > 0.0);
    assert!(
        index.reason.contains("an estimate by rule: each row puts about 2 keys into it")
            && index.reason.contains("gin_pending_list_limit"),
        "{}",
        index.reason
    );
}
