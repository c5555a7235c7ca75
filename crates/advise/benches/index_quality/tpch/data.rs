//! TPC-H's data, generated into a server of its own that stays for the next run.

use bytes::Bytes;
use futures_util::SinkExt;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::fmt::Display;
use std::path::Path;
use tokio_postgres::NoTls;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};

/// The database that holds it.
pub const DATABASE: &str = "tpch";
const SCHEMA: &str = include_str!("schema.sql");
/// Bytes sent at once.
const CHUNK: usize = 1 << 18;

/// The server settings of the published comparison.
pub const SETTINGS: &[(&str, &str)] = &[
    ("random_page_cost", "1.1"),
    ("effective_cache_size", "'12GB'"),
    ("work_mem", "'64MB'"),
    ("shared_buffers", "'2GB'"),
    ("maintenance_work_mem", "'1GB'"),
    ("max_wal_size", "'8GB'"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "2"),
    ("autovacuum", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
];

/// A server with TPC-H of that scale factor in `directory`, loaded there where it is not yet.
pub async fn server(directory: &Path, scale: f64) -> Postgres {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let options = PostgresOptions {
        settings,
        directory: Some(directory.to_path_buf()),
        ..PostgresOptions::default()
    };
    let server = Postgres::start(options).unwrap();
    // Written last, so that a load that was cut off is begun again.
    let loaded = directory.join("loaded");
    let label = format!("scale factor {scale}");
    if std::fs::read_to_string(&loaded).is_ok_and(|text| text == label) {
        return server;
    }
    eprintln!("loading TPC-H, {label}, into {}", directory.display());
    server.execute("postgres", &format!("DROP DATABASE IF EXISTS {DATABASE}")).unwrap();
    let create = format!(
        "CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    server.execute("postgres", &create).unwrap();
    server.execute(DATABASE, "CREATE EXTENSION hypopg").unwrap();
    server.execute(DATABASE, SCHEMA).unwrap();
    load(&server, scale).await;
    server.execute(DATABASE, "VACUUM (ANALYZE)").unwrap();
    server.execute(DATABASE, "CHECKPOINT").unwrap();
    std::fs::write(&loaded, label).unwrap();
    server
}

async fn load(server: &Postgres, scale: f64) {
    copy(server, "region", RegionGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "nation", NationGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "supplier", SupplierGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "part", PartGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "partsupp", PartSuppGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "customer", CustomerGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "orders", OrderGenerator::new(scale, 1, 1).iter()).await;
    copy(server, "lineitem", LineItemGenerator::new(scale, 1, 1).iter()).await;
}

async fn copy(server: &Postgres, relation: &str, rows: impl Iterator<Item = impl Display>) {
    let (client, connection) = tokio_postgres::connect(&server.dsn(DATABASE), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let statement = format!("COPY {relation} FROM STDIN WITH (DELIMITER '|')");
    let sink = client.copy_in::<_, Bytes>(statement.as_str()).await.unwrap();
    futures_util::pin_mut!(sink);
    let mut text = String::with_capacity(CHUNK + 1024);
    for row in rows {
        let row = row.to_string();
        // dbgen ends a line with a delimiter, COPY takes that for one more column.
        text.push_str(row.strip_suffix('|').unwrap_or(&row));
        text.push('\n');
        if text.len() >= CHUNK {
            sink.send(Bytes::from(std::mem::take(&mut text))).await.unwrap();
        }
    }
    sink.send(Bytes::from(text)).await.unwrap();
    sink.finish().await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}
