//! Puts the planner's statistics into a shadow: `pg_statistic` and `pg_statistic_ext_data`, rows as the source had
//! them.

use crate::ShadowError;
use crate::blueprint::{ColumnStatistics, ExtendedStatistics, Lacking};
use crate::load::{broken, refusal};
use futures_util::future::join_all;
use pgassay_model::index::RelationName;
use pgassay_postgres::Session;
use tokio_postgres::Statement;
use tokio_postgres::types::Type;

const PIPELINE: usize = 30;
/// Slots of a row of `pg_statistic` (`STATISTIC_NUM_SLOTS`).
const SLOTS: usize = 5;

/// The types of extended statistics have no input functions.
const CASTS: &str = "CREATE CAST (pg_catalog.bytea AS pg_catalog.pg_ndistinct) WITHOUT FUNCTION; \
    CREATE CAST (pg_catalog.bytea AS pg_catalog.pg_dependencies) WITHOUT FUNCTION; \
    CREATE CAST (pg_catalog.bytea AS pg_catalog.pg_mcv_list) WITHOUT FUNCTION /* pgassay */";
/// A type's own `=` or `<`, for statistics that came without operators: by the default operator class of a B-tree
/// for the type, its domain's base, or the pseudo-type that stands for its kind.
const OWN_OPERATOR: &str = include_str!("sql/own_operator.130000.sql");

/// What may be missing is named, relation by relation.
pub(crate) async fn put(
    session: &Session,
    columns: &[ColumnStatistics],
    extended: &[ExtendedStatistics],
    version_num: u32,
) -> Result<Vec<Lacking>, ShadowError> {
    let doing = "writing statistics";
    session.client().batch_execute(CASTS).await.map_err(|error| broken(doing, &error))?;
    session.client().batch_execute(OWN_OPERATOR).await.map_err(|error| broken(doing, &error))?;
    let mut lacking = Vec::new();
    let insert = session
        .client()
        .prepare_typed(&column_sql(), &COLUMN_TYPES)
        .await
        .map_err(|error| broken(doing, &error))?;
    for some in columns.chunks(PIPELINE) {
        let run = some.iter().map(|one| column(session, &insert, one));
        for (one, result) in some.iter().zip(join_all(run).await) {
            if let Err(error) = result {
                lacking.push(Lacking::slight(
                    RelationName { schema: one.schema.clone(), name: one.relation.clone() },
                    format!("statistics of {}", one.column),
                    refusal(doing, &error)?,
                ));
            }
        }
    }
    let sql = extended_sql(version_num);
    for one in extended {
        if let Err(error) = put_extended(session, &sql, one, version_num).await {
            lacking.push(Lacking::slight(
                RelationName { schema: one.schema.clone(), name: one.relation.clone() },
                format!("extended statistics {}", one.name),
                refusal(doing, &error)?,
            ));
        }
    }
    Ok(lacking)
}

async fn column(
    session: &Session,
    insert: &Statement,
    one: &ColumnStatistics,
) -> Result<(), tokio_postgres::Error> {
    let slots = serde_json::to_string(&one.figures.slots).unwrap_or_else(|_| "[]".into());
    session
        .client()
        .execute(
            insert,
            &[
                &one.schema,
                &one.relation,
                &one.column,
                &one.number,
                &one.inherited,
                &one.figures.null_fraction,
                &one.figures.width,
                &one.figures.distinct,
                &slots,
            ],
        )
        .await
        .map(|_| ())
}

/// Parameters of [`column_sql`].
const COLUMN_TYPES: [Type; 9] = [
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT2,
    Type::BOOL,
    Type::FLOAT4,
    Type::INT4,
    Type::FLOAT4,
    Type::TEXT,
];

async fn put_extended(
    session: &Session,
    sql: &str,
    one: &ExtendedStatistics,
    version_num: u32,
) -> Result<(), tokio_postgres::Error> {
    let expressions = one.expressions.as_ref().and_then(|all| serde_json::to_string(all).ok());
    let mut parameters: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> = vec![
        (&one.schema, Type::TEXT),
        (&one.name, Type::TEXT),
        (&one.ndistinct, Type::TEXT),
        (&one.dependencies, Type::TEXT),
        (&one.mcv, Type::TEXT),
    ];
    if version_num >= 140_000 {
        parameters.push((&expressions, Type::TEXT));
    }
    if version_num >= 150_000 {
        parameters.push((&one.inherited, Type::BOOL));
    }
    session.client().query_typed(sql, &parameters).await.map(|_| ())
}

fn column_sql() -> String {
    format!(
        "WITH given AS MATERIALIZED (SELECT $9::pg_catalog.jsonb AS slots)
         INSERT INTO pg_catalog.pg_statistic (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct, {})
         SELECT a.attrelid, a.attnum, $5, $6, $7, $8, {}
           FROM given
           JOIN pg_catalog.pg_attribute a ON NOT a.attisdropped
                AND a.attrelid = pg_catalog.format('%I.%I', $1, $2)::pg_catalog.regclass
                AND CASE WHEN $4 IS NULL THEN a.attname = $3 ELSE a.attnum = $4 END
         /* pgassay */",
        slot_columns(),
        slot_values("given.slots", "a.atttypid"),
    )
}

/// `stakind1, …, stavalues5`, slot by slot.
fn slot_columns() -> String {
    (1..=SLOTS)
        .map(|n| format!("stakind{n}, staop{n}, stacoll{n}, stanumbers{n}, stavalues{n}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The same, out of a JSON array of [`crate::blueprint::Slot`]; of kinds 3 and 5 the numbers, of the others the
/// values have a type, which is the column's where none is named.
fn slot_values(slots: &str, column_type: &str) -> String {
    (0..SLOTS)
        .map(|place| {
            let slot = format!("{slots} -> {place}");
            let text = |key: &str| format!("({slot} ->> '{key}')");
            let kind = text("kind");
            let element = format!(
                "coalesce({}::pg_catalog.regtype::pg_catalog.oid, {column_type})",
                text("element")
            );
            format!(
                "coalesce({kind}::pg_catalog.int2, 0), \
                 coalesce({}::pg_catalog.regoperator::pg_catalog.oid, pg_temp.own_operator({element}, {kind}::pg_catalog.int4), 0), \
                 coalesce({}::pg_catalog.regcollation::pg_catalog.oid, 0), \
                 {}::pg_catalog.float4[], \
                 pg_catalog.array_in({}::pg_catalog.cstring, {element}, -1)",
                text("operator"),
                text("collation"),
                text("numbers"),
                text("values"),
            )
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn extended_sql(version_num: u32) -> String {
    let (mut columns, mut values) = (String::new(), String::new());
    if version_num >= 140_000 {
        columns.push_str(", stxdexpr");
        // In the order of pg_statistic's columns, which the row is of.
        values.push_str(&format!(
            ", CASE WHEN $6 IS NOT NULL THEN ARRAY(
                SELECT ROW(0, 0, false, (s.row ->> 'null_fraction')::pg_catalog.float4, (s.row ->> 'width')::pg_catalog.int4,
                           (s.row ->> 'distinct')::pg_catalog.float4, {})::pg_catalog.pg_statistic
                  FROM pg_catalog.jsonb_array_elements($6::pg_catalog.jsonb) WITH ORDINALITY AS s (row, place)
                 ORDER BY s.place) END",
            expression_slots()
        ));
    }
    if version_num >= 150_000 {
        columns.push_str(", stxdinherit");
        values.push_str(", $7");
    }
    if version_num < 150_000 {
        // The row is there from the beginning.
        return format!(
            "UPDATE pg_catalog.pg_statistic_ext_data d
                SET (stxdndistinct, stxddependencies, stxdmcv{columns}) = (SELECT {DATA}{values})
               FROM pg_catalog.pg_statistic_ext e
               JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
              WHERE d.stxoid = e.oid AND n.nspname = $1 AND e.stxname = $2 /* pgassay */"
        );
    }
    format!(
        "INSERT INTO pg_catalog.pg_statistic_ext_data (stxoid, stxdndistinct, stxddependencies, stxdmcv{columns})
         SELECT e.oid, {DATA}{values}
           FROM pg_catalog.pg_statistic_ext e
           JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
          WHERE n.nspname = $1 AND e.stxname = $2 /* pgassay */"
    )
}

/// The bytes as what they are; see [`CASTS`].
const DATA: &str = "pg_catalog.decode($3, 'hex')::pg_catalog.pg_ndistinct, \
    pg_catalog.decode($4, 'hex')::pg_catalog.pg_dependencies, pg_catalog.decode($5, 'hex')::pg_catalog.pg_mcv_list";

/// All kinds, then all operators, collations, numbers and values.
fn expression_slots() -> String {
    let slot = |place: usize, key: &str| format!("((s.row -> 'slots' -> {place}) ->> '{key}')");
    let element = |place: usize| {
        format!("coalesce({}::pg_catalog.regtype::pg_catalog.oid, 25)", slot(place, "element"))
    };
    let all = |of: &dyn Fn(usize) -> String| (0..SLOTS).map(of).collect::<Vec<_>>().join(", ");
    [
        all(&|n| format!("coalesce({}::pg_catalog.int2, 0)", slot(n, "kind"))),
        all(&|n| {
            format!("coalesce({}::pg_catalog.regoperator::pg_catalog.oid, 0)", slot(n, "operator"))
        }),
        all(&|n| {
            format!(
                "coalesce({}::pg_catalog.regcollation::pg_catalog.oid, 0)",
                slot(n, "collation")
            )
        }),
        all(&|n| format!("{}::pg_catalog.float4[]", slot(n, "numbers"))),
        all(&|n| {
            format!(
                "pg_catalog.array_in({}::pg_catalog.cstring, {}, -1)",
                slot(n, "values"),
                element(n)
            )
        }),
    ]
    .join(", ")
}
