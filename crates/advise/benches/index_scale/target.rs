//! The synthetic relations in a server: one with rows, the others as long as it, with its statistics and no rows.

use crate::scale_support::{COLUMNS, PAGES, ROWS, distinct};
use pgassay_testkit::{Postgres, PostgresOptions};

const DATABASE: &str = "postgres";
const PASSWORD: &str = "scale";

/// A server with that many relations `t0`, `t1`, …; `keys`: each with a primary key.
pub fn make(relations: usize, keys: bool) -> Postgres {
    let on = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let settings = vec![on("autovacuum", "off"), on("allow_system_table_mods", "on")];
    let server =
        Postgres::start(PostgresOptions { settings, ..PostgresOptions::default() }).unwrap();
    let execute = |sql: &str| server.execute(DATABASE, sql).unwrap();
    execute(&format!("ALTER ROLE postgres PASSWORD '{PASSWORD}'"));
    let columns: Vec<String> = (0..COLUMNS).map(|place| format!("c{place} int NOT NULL")).collect();
    execute(&format!("CREATE TABLE t0 ({})", columns.join(", ")));
    execute(&format!(
        "DO $$ BEGIN FOR n IN 1..{} LOOP
           EXECUTE pg_catalog.format('CREATE TABLE %I (LIKE t0)', 't' || n); END LOOP; END $$",
        relations - 1
    ));
    if keys {
        execute(&format!(
            "DO $$ BEGIN FOR n IN 0..{} LOOP
               EXECUTE pg_catalog.format('ALTER TABLE %I ADD PRIMARY KEY (c0)', 't' || n); END LOOP; END $$",
            relations - 1
        ));
    }
    let values: Vec<String> = (0..COLUMNS)
        .map(|place| match distinct(place) {
            // A prime above the number of rows: every value once, in another order for each column.
            unique if unique < 0.0 => format!("g * {}::bigint % 100003", 7_919 * (place + 1)),
            values => format!(
                "(pg_catalog.hashint8(g * {}::bigint)::bigint & 2147483647) % {values}",
                place + 1
            ),
        })
        .collect();
    execute(&format!(
        "INSERT INTO t0 SELECT {} FROM pg_catalog.generate_series(1, {ROWS}::int) g",
        values.join(", ")
    ));
    execute("VACUUM (ANALYZE) t0");
    execute("CHECKPOINT");
    lengthen(&server);
    // The others' statistics are those of the first.
    execute(
        "DO $$ DECLARE columns text; BEGIN
           SELECT pg_catalog.string_agg(attname, ', ' ORDER BY attnum) INTO columns FROM pg_catalog.pg_attribute
            WHERE attrelid = 'pg_catalog.pg_statistic'::regclass AND attnum > 1 AND NOT attisdropped;
           EXECUTE pg_catalog.format('INSERT INTO pg_catalog.pg_statistic (starelid, %1$s) SELECT c.oid, %1$s
             FROM pg_catalog.pg_statistic s, pg_catalog.pg_class c
            WHERE s.starelid = ''t0''::regclass AND c.relkind = ''r'' AND c.relname ~ ''^t[1-9][0-9]*$''', columns);
         END $$",
    );
    execute(&format!(
        "UPDATE pg_catalog.pg_class SET relpages = {PAGES}, relallvisible = {PAGES}, reltuples = {ROWS}
          WHERE relkind = 'r' AND relname ~ '^t[0-9]+$'"
    ));
    execute(&format!(
        "UPDATE pg_catalog.pg_class SET relpages = 276, reltuples = {ROWS}
          WHERE relkind = 'i' AND relname ~ '^t[0-9]+_pkey$'"
    ));
    server
}

/// Makes all files as long as they would be with rows; pages of zeros are new ones to the server.
fn lengthen(server: &Postgres) {
    let sql = "SELECT pg_catalog.pg_relation_filepath(oid), CASE relkind WHEN 'i' THEN 276 END FROM pg_catalog.pg_class
        WHERE relname ~ '^t[0-9]+(_pkey)?$' AND relkind IN ('r', 'i')";
    for row in server.query(DATABASE, sql).unwrap() {
        let path = server.data_directory().join(row[0].as_deref().unwrap());
        let pages = row[1].as_deref().map_or(PAGES, |pages| pages.parse().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        if file.metadata().unwrap().len() < pages * 8192 {
            file.set_len(pages * 8192).unwrap();
        }
    }
}

/// How to reach it through that port.
pub fn dsn(port: u16) -> String {
    format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
}
