//! Estimated sizes of GIN, GiST and BRIN indexes beside those that are built.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;

use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::index_size::{BLOCK, ExpressionFacts, pages};
use pgassay_postgres::{Session, SessionOptions, snapshot};
use pgassay_testkit::shared;
use real_support::build;

/// Values alike and of Zipf's law, repeated and unique, short and long.
const SCHEMA: &str = "
    SELECT setseed(0.42);
    CREATE TABLE sized AS SELECT *, to_tsvector('english', prose) AS words FROM (SELECT i AS id,
        ARRAY['tag' || (i * 17) % 3000, 'common' || i % 3] AS tags,
        ARRAY[(i * 7919) % 30000, i % 50] AS numbers,
        (SELECT array_agg(floor(1000 ^ random())::int) FROM generate_series(1, 8) WHERE i > 0) AS zipf,
        jsonb_build_object('user', (i * 7919) % 2000, 'page', 'page ' || i % 37) AS document,
        jsonb_build_object('id', i, 'mail', md5(i::text) || '@example.com', 'active', i % 2 = 0) AS person,
        jsonb_build_object('items', (SELECT jsonb_agg(jsonb_build_object('sku', floor(random() * 5000)::int,
            'count', floor(random() * 5)::int)) FROM generate_series(1, 5) WHERE i > 0), 'note', md5((i % 700)::text)) AS cart,
        'message ' || md5((i % 5000)::text) || ' was sent' AS body,
        (SELECT string_agg(left(md5(floor(3000 ^ random())::int::text), 8), ' ') FROM generate_series(1, 8) WHERE i > 0) AS prose,
        int4range((i * 7919) % 100000, (i * 7919) % 100000 + 15) AS period,
        CASE WHEN i % 2 = 0 THEN tsrange(timestamp '2024-01-01' + i * interval '1 minute',
            timestamp '2024-01-02' + i * interval '1 minute') END AS stay,
        point(random() * 1000, random() * 1000) AS place,
        ('10.' || i % 200 || '.' || (i / 200) % 200 || '.' || i % 250)::inet AS address,
        timestamp '2024-01-01' + i * interval '1 minute' AS at,
        i % 40 AS room
    FROM generate_series(1, 25000) i) AS drawn;";

fn index(method: &str, keys: &[&str]) -> IndexDefinition {
    let key = |text: &&str| {
        let (subject, opclass) = match text.rsplit_once(' ') {
            Some((subject, opclass)) if opclass.ends_with("_ops") => {
                (subject, Some(opclass.into()))
            }
            _ => (*text, None),
        };
        let expression = subject.contains('(').then(|| subject.to_owned());
        IndexKey {
            column: expression.is_none().then(|| subject.to_owned()),
            expression,
            opclass,
            ..IndexKey::column("")
        }
    };
    IndexDefinition {
        relation: RelationName { schema: "public".into(), name: "sized".into() },
        name: "measured".into(),
        method: method.into(),
        unique: false,
        keys: keys.iter().map(key).collect(),
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    }
}

#[test]
fn sizes_of_gin_gist_and_brin_indexes_are_told_from_statistics() {
    let database = build(SCHEMA, false);
    // Other majors than the packaged one come without contrib.
    let extensions: Vec<&str> = ["pg_trgm", "btree_gin", "btree_gist"]
        .into_iter()
        .filter(|name| {
            let create = format!("CREATE EXTENSION {name}");
            shared().execute(&database, &create).is_ok()
        })
        .collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = pgassay_postgres::dsn::resolve(&shared().dsn(&database)).unwrap();
    let snapshot = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        snapshot(&session).await.unwrap()
    });
    let relation = &snapshot.relations[0];
    let short = IndexDefinition { pages_per_range: Some(2), ..index("brin", &["at"]) };
    let indexes = [
        index("gin", &["tags"]),
        index("gin", &["numbers"]),
        index("gin", &["zipf"]),
        index("gin", &["document"]),
        index("gin", &["document jsonb_path_ops"]),
        index("gin", &["person"]),
        index("gin", &["person jsonb_path_ops"]),
        index("gin", &["cart"]),
        index("gin", &["cart jsonb_path_ops"]),
        index("gin", &["body gin_trgm_ops"]),
        index("gin", &["prose gin_trgm_ops"]),
        index("gin", &["words"]),
        index("gin", &["to_tsvector('english', body)"]),
        index("gin", &["room", "tags"]),
        index("gist", &["period"]),
        index("gist", &["stay"]),
        index("gist", &["place"]),
        index("gist", &["address inet_ops"]),
        index("gist", &["room", "period"]),
        index("brin", &["at"]),
        short,
    ];
    let mut wrong = Vec::new();
    let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
    for index in &indexes {
        let needed = match (index.method.as_str(), index.keys.len()) {
            (_, 1) if index.keys[0].opclass.as_deref() == Some("gin_trgm_ops") => "pg_trgm",
            ("gin", 2) => "btree_gin",
            ("gist", 2) => "btree_gist",
            _ => "",
        };
        if !needed.is_empty() && !extensions.contains(&needed) {
            continue;
        }
        let rows = relation.rows.unwrap();
        let estimated = pages(relation, index, rows, &|_| ExpressionFacts::UNKNOWN, None).unwrap();
        let ddl = pgassay_sql::index_ddl(index, false);
        let size = shared()
            .query(
                &database,
                &format!("BEGIN; {ddl}; SELECT pg_relation_size('measured'); ROLLBACK"),
            )
            .unwrap();
        let built = size[0][0].as_ref().unwrap().parse::<f64>().unwrap() / BLOCK;
        let ratio = estimated / built;
        let line = format!("{ratio:5.2}  {estimated:7.0} for {built:7.0} pages  {}", &ddl[22..]);
        eprintln!("{line}");
        least = least.min(ratio);
        greatest = greatest.max(ratio);
        if !(0.65..=1.6).contains(&ratio) {
            wrong.push(line);
        }
    }
    eprintln!("{least:.2} to {greatest:.2} of what is built");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
