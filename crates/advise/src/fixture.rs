//! Values that tests are made from: a snapshot on which everything is as it should be, and a what-if engine that
//! answers from a table.

use pgassay_model::index::{Index, IndexDefinition, IndexKey, RelationName};
use pgassay_model::measurement::{
    self, Connect, Latency, Ledger, Measurement, Mode, PoolWindow, StatementMeasurement,
};
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::PlanTarget;
use pgassay_model::pooler::{Pool, PoolerDatabase, PoolerSetting, PoolerSnapshot, SecretKind};
use pgassay_model::relation::{Column, ColumnStatistics, Relation, RelationActivity};
use pgassay_model::snapshot::{Counters, HostFacts, Server, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::{self, Workload, WorkloadStatement};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn time() -> pgassay_model::Timestamp {
    pgassay_model::Timestamp::UNIX_EPOCH
}

pub(crate) fn target() -> PlanTarget {
    PlanTarget {
        system_identifier: Some(1),
        database: "shop".into(),
        version_num: 150_018,
        display: "postgresql://app@db:5432/shop".into(),
    }
}

/// 10 ms in all: what is neither log-in nor execution is network.
pub(crate) fn ledger(auth: f64, execute: f64) -> Ledger {
    Ledger {
        connect: Some(0.0),
        tls: None,
        auth: Some(auth),
        pool_wait: Some(0.0),
        parse_plan: Some(0.0),
        execute: Some(execute),
        network: Some(10.0 - auth - execute),
        total: 10.0,
    }
}

pub(crate) fn statement_measured(id: &str, requests: u64, mean: f64) -> StatementMeasurement {
    StatementMeasurement {
        id: id.into(),
        sql: String::new(),
        requests,
        errors: 0,
        latency_ms: Latency { mean, ..Latency::default() },
        first_error: None,
        not_representative: None,
    }
}

pub(crate) fn measurement(ledger: Ledger) -> Measurement {
    Measurement {
        schema: measurement::SCHEMA.into(),
        generated_at: time(),
        target: "postgresql://app@db:6432/shop".into(),
        requests: 10_000,
        errors: 0,
        duration_s: 20.0,
        throughput: 500.0,
        mode: Mode {
            clients: Some(64),
            rate: Some(500.0),
            connect: Connect::Reuse,
            protocol: Default::default(),
            speed: None,
        },
        latency_ms: Latency { mean: ledger.total, ..Latency::default() },
        ledger_ms: ledger,
        ledger_sources: BTreeMap::new(),
        statements: Vec::new(),
        scripts: Vec::new(),
        blocks: Vec::new(),
        server_cpu_ms_per_request: None,
        pool: Some(PoolWindow {
            duration_s: 20.0,
            transactions: 10_000,
            wait_ms: 0.0,
            xact_ms: 40_000.0,
            query_ms: 40_000.0,
            max_waiting: 0,
            max_servers: 4,
        }),
        index_scans: BTreeMap::new(),
        notes: Vec::new(),
    }
}

pub(crate) fn workload(statements: &[(&str, &str)]) -> Workload {
    Workload {
        schema: workload::SCHEMA.into(),
        generated_at: time(),
        source: "a test".into(),
        statements: statements
            .iter()
            .map(|(id, sql)| WorkloadStatement {
                id: (*id).into(),
                sql: (*sql).into(),
                weight: 1.0,
                writes: !sql.starts_with("SELECT"),
                parameters: Vec::new(),
                parameter_source: "none needed".into(),
                ..WorkloadStatement::default()
            })
            .collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// A parameter with its default's source; `setting` in `unit`.
pub(crate) fn parameter(
    name: &str,
    setting: &str,
    unit: Option<&str>,
    current: &str,
    context: &str,
) -> Parameter {
    Parameter {
        name: name.into(),
        setting: setting.into(),
        unit: unit.map(str::to_owned),
        current: current.into(),
        context: context.into(),
        source: "default".into(),
        ..Parameter::default()
    }
}

fn parameters() -> BTreeMap<String, Parameter> {
    let all = [
        parameter("work_mem", "4096", Some("kB"), "4MB", "user"),
        parameter("maintenance_work_mem", "65536", Some("kB"), "64MB", "user"),
        parameter("effective_cache_size", "524288", Some("8kB"), "4GB", "user"),
        parameter("shared_buffers", "16384", Some("8kB"), "128MB", "postmaster"),
        parameter("random_page_cost", "4", None, "4", "user"),
        parameter("seq_page_cost", "1", None, "1", "user"),
        parameter("effective_io_concurrency", "1", None, "1", "user"),
        parameter("max_wal_size", "1024", Some("MB"), "1GB", "sighup"),
        parameter("checkpoint_completion_target", "0.9", None, "0.9", "sighup"),
        parameter("checkpoint_timeout", "300", Some("s"), "5min", "sighup"),
        Parameter {
            enumvals: Some(vec!["pglz".into(), "lz4".into(), "on".into(), "off".into()]),
            ..parameter("wal_compression", "off", None, "off", "superuser")
        },
        parameter("track_io_timing", "off", None, "off", "superuser"),
        parameter("jit", "on", None, "on", "user"),
        parameter("jit_above_cost", "100000", None, "100000", "user"),
        parameter("default_statistics_target", "100", None, "100", "user"),
        parameter("max_connections", "100", None, "100", "postmaster"),
        parameter("superuser_reserved_connections", "3", None, "3", "postmaster"),
        parameter("max_parallel_workers_per_gather", "2", None, "2", "user"),
        parameter("hash_mem_multiplier", "2", None, "2", "user"),
        parameter("statement_timeout", "30000", Some("ms"), "30s", "user"),
    ];
    all.into_iter().map(|parameter| (parameter.name.clone(), parameter)).collect()
}

pub(crate) fn index(relation: &str, name: &str, column: &str, unique: bool) -> Index {
    let definition = IndexDefinition {
        relation: RelationName { schema: "public".into(), name: relation.into() },
        name: name.into(),
        method: "btree".into(),
        unique,
        keys: vec![IndexKey::column(column)],
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    };
    Index {
        oid: 1,
        ddl: pgassay_sql::index_ddl(&definition, false),
        definition,
        primary: unique,
        constraint: unique.then(|| name.to_owned()),
        valid: true,
        replica_identity: false,
        attached: false,
        leaves: None,
        size: Bytes(10 << 20),
        scans: 1000,
        last_scan: None,
    }
}

/// 500,000 analyzed rows with a primary key.
pub(crate) fn users() -> Relation {
    let column = |name: &str, type_name: &str| Column {
        name: name.into(),
        type_name: type_name.into(),
        not_null: true,
        has_default: false,
        c_collation: None,
        statistics: Some(ColumnStatistics {
            average_width: 16,
            n_distinct: -1.0,
            ..ColumnStatistics::default()
        }),
    };
    Relation {
        oid: 2,
        name: RelationName { schema: "public".into(), name: "users".into() },
        kind: 'r',
        pages: 10_000,
        rows: Some(500_000.0),
        size: Bytes(80 << 20),
        all_visible_pages: 10_000,
        columns: vec![column("id", "bigint"), column("username", "text"), column("email", "text")],
        indexes: vec![index("users", "users_pkey", "id", true)],
        foreign_keys: Vec::new(),
        extended_statistics: Vec::new(),
        has_children: false,
        activity: RelationActivity {
            live_rows: 500_000,
            index_scans: 1000,
            last_analyze: Some(time()),
            ..RelationActivity::default()
        },
    }
}

pub(crate) fn pooler(secret: SecretKind) -> PoolerSnapshot {
    let setting = |(key, value): (&str, &str)| {
        let changeable = key != "listen_backlog";
        (key.to_owned(), PoolerSetting { value: value.into(), default: None, changeable })
    };
    PoolerSnapshot {
        version: "1.18.0".into(),
        config: [
            ("default_pool_size", "20"),
            ("min_pool_size", "0"),
            ("reserve_pool_size", "0"),
            ("reserve_pool_timeout", "5"),
            ("max_client_conn", "500"),
            ("listen_backlog", "128"),
            ("query_timeout", "0"),
            ("query_wait_timeout", "120"),
            ("server_idle_timeout", "600"),
            ("server_lifetime", "3600"),
            ("auth_type", "scram-sha-256"),
            ("auth_file", "/etc/pgbouncer/userlist.txt"),
            ("admin_users", "admin"),
            ("stats_users", "admin"),
            ("pool_mode", "transaction"),
        ]
        .map(setting)
        .into(),
        pools: vec![Pool {
            database: "shop".into(),
            user: "app".into(),
            mode: "transaction".into(),
            ..Pool::default()
        }],
        databases: vec![PoolerDatabase {
            name: "shop".into(),
            pool_size: 20,
            ..PoolerDatabase::default()
        }],
        userlist: Some(BTreeMap::from([
            ("admin".into(), SecretKind::Plain),
            ("app".into(), secret),
        ])),
        ini: Some("/etc/pgbouncer/pgbouncer.ini".into()),
        ini_problem: None,
        pid: Some(10),
        open_files_limit: Some(10_000),
        somaxconn: Some(4096),
        refused: None,
    }
}

/// Everything as it should be.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        taken_at: time(),
        server: Server {
            version_num: 150_018,
            version: "15.18".into(),
            database: "shop".into(),
            user: "postgres".into(),
            superuser: true,
            monitor: true,
            read_all_data: true,
            database_size: Bytes(200 << 20),
            extensions: BTreeMap::new(),
            available_extensions: BTreeSet::new(),
            ..Server::default()
        },
        parameters: parameters(),
        relations: vec![users()],
        statements: Some(Vec::new()),
        counters: Counters { blocks_hit: 1_000_000, blocks_read: 100, ..Counters::default() },
        host: Some(HostFacts {
            memory: Bytes(16 << 30),
            available: Bytes(8 << 30),
            page_cache: Bytes(4 << 30),
            cores: 4,
            rotational: Some(false),
            postmaster_pid: Some(11),
            disk_free: Some(Bytes(100 << 30)),
        }),
        pooler: Some(pooler(SecretKind::Scram)),
        views: Vec::new(),
        immutable_functions: Default::default(),
        unseen: Vec::new(),
    }
}

/// Counters of a window in which nothing went wrong.
pub(crate) fn quiet() -> Counters {
    Counters {
        blocks_hit: 100_000,
        checkpoints_timed: Some(0),
        checkpoints_requested: Some(0),
        wal_bytes: Some(1 << 20),
        wal_full_page_images: Some(10),
        sessions: Some(1),
        ..Counters::default()
    }
}

/// Answers from tables; statements it does not know cost 1.
#[derive(Default)]
pub(crate) struct FakeWhatIf {
    plans: BTreeMap<String, PlannedCost>,
    /// By parameter, value and statement.
    under: BTreeMap<(String, String, String), PlannedCost>,
    /// Cost of a statement with an index that begins with a column.
    indexed: BTreeMap<String, (String, f64)>,
    calls: u64,
}

fn planned(cost: f64, shape: &str) -> PlannedCost {
    PlannedCost {
        total_cost: cost,
        shape: shape.into(),
        indexes: Vec::new(),
        rows: None,
        written: Vec::new(),
    }
}

impl FakeWhatIf {
    pub(crate) fn plan(mut self, id: &str, cost: f64, shape: &str) -> Self {
        self.plans.insert(id.into(), planned(cost, shape));
        self
    }

    pub(crate) fn under(
        mut self,
        parameter: &str,
        value: &str,
        id: &str,
        cost: f64,
        shape: &str,
    ) -> Self {
        self.under.insert((parameter.into(), value.into(), id.into()), planned(cost, shape));
        self
    }

    pub(crate) fn indexed(mut self, id: &str, column: &str, cost: f64) -> Self {
        self.indexed.insert(id.into(), (column.into(), cost));
        self
    }
}

impl WhatIf for FakeWhatIf {
    fn engine(&self) -> &'static str {
        "hypopg"
    }

    fn plans_indexes(&self) -> bool {
        true
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        self.calls += 1;
        for (name, value) in &hypothesis.parameters {
            let key = (name.clone(), value.clone(), statement.id.clone());
            if let Some(plan) = self.under.get(&key) {
                return Ok(plan.clone());
            }
        }
        if let Some((column, cost)) = self.indexed.get(&statement.id)
            && let Some(index) = hypothesis.indexes.iter().find(|index| {
                index.keys.first().and_then(|key| key.column.as_ref()) == Some(column)
            })
        {
            let shape = format!("Index Scan {}", index.name);
            return Ok(PlannedCost { indexes: vec![index.name.clone()], ..planned(*cost, &shape) });
        }
        Ok(self.plans.get(&statement.id).cloned().unwrap_or_else(|| planned(1.0, "Result")))
    }

    fn index_size(&mut self, _: &IndexDefinition) -> Option<Bytes> {
        Some(Bytes(15 << 20))
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}
