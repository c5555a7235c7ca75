//! How fast logs are read: MB per CPU second and peak memory, by format, each in a process of its own.
//!
//! `cargo bench -p pgassay-workload --bench logs [-- MB]`, by default 1024 MB (the disk must have room for one) for each format. The logs are made up
//! but not repetitive: about 600 kinds of statements with their own columns, literals and bound values of many
//! lengths, statements of several lines, lists of 1 to 40 elements, comments with trace ids, 200 sessions with
//! transactions and the server's own messages between them. Reading is one thread; file pages are cached.
//!
//! Measured on two shared cores (AVX-512), 1074 MB each, MB per CPU second and peak memory: stderr 729, 107 MB;
//! csvlog 658, 107 MB; jsonlog 729, 107 MB; syslog 414, 107 MB; stderr with every statement different 370, 37 MB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark"
)]

use pgassay_workload::{LogOptions, capture_logs};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const FORMATS: &[&str] = &["stderr", "csvlog", "jsonlog", "syslog", "stderr, all different"];

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [read, path] = arguments.as_slice()
        && read == "read"
    {
        return report(Path::new(path));
    }
    if let [write, format, path] = arguments.as_slice()
        && write == "write"
    {
        return generate(Path::new(path), format, 256 << 20);
    }
    let megabytes: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(1024);
    let directory = tempfile::tempdir().unwrap();
    println!(
        "{:24} {:>8} {:>12} {:>12} {:>10} {:>12}",
        "format", "MB", "MB/CPU s", "MB/s", "peak MB", "statements"
    );
    for format in FORMATS {
        let path = directory.path().join("log");
        generate(&path, format, megabytes << 20);
        let answer =
            Command::new(std::env::current_exe().unwrap()).arg("read").arg(&path).output().unwrap();
        print!("{format:24} {}", String::from_utf8_lossy(&answer.stdout));
        eprint!("{}", String::from_utf8_lossy(&answer.stderr));
        fs::remove_file(&path).unwrap();
    }
}

/// Reads a log and prints the figures.
fn report(path: &Path) {
    let bytes = fs::metadata(path).unwrap().len() as f64 / 1e6;
    let (cpu, start) = (cpu_seconds(), Instant::now());
    let capture =
        capture_logs(&[PathBuf::from(path)], &LogOptions { limit: 1000, ..LogOptions::default() })
            .unwrap();
    let (cpu, elapsed) = (cpu_seconds() - cpu, start.elapsed().as_secs_f64());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!(
        "{bytes:8.0} {:12.0} {:12.0} {:10.0} {:12}",
        bytes / cpu,
        bytes / elapsed,
        peak / 1024.0,
        capture.workload.statements.len()
    );
    if std::env::var_os("NOTES").is_some() {
        for note in &capture.notes {
            eprintln!("{note}");
        }
        for skipped in &capture.workload.skipped {
            eprintln!("{}: {}", skipped.statement, skipped.reason);
        }
    }
}

/// Time on the processor (proc(5), schedstat).
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/task/self/schedstat")
        .or_else(|_| fs::read_to_string("/proc/self/schedstat"))
        .unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

const TABLES: &[&str] = &[
    "users",
    "orders",
    "order_items",
    "products",
    "sessions",
    "audit_log",
    "payments",
    "invoices",
    "addresses",
    "carts",
    "reviews",
    "shipments",
    "inventory",
    "categories",
    "coupons",
    "events",
    "messages",
    "tokens",
    "teams",
    "permissions",
    "documents",
    "revisions",
    "tags",
    "subscriptions",
    "webhooks",
];
const COLUMNS: &[&str] = &[
    "id",
    "user_id",
    "status",
    "created_at",
    "updated_at",
    "email",
    "name",
    "amount",
    "currency",
    "kind",
    "payload",
    "expires_at",
    "parent_id",
    "position",
    "quantity",
    "price",
    "deleted_at",
    "locale",
    "country",
    "external_id",
];

/// One kind of statement: pieces of text with a literal or a parameter between each two.
struct Kind {
    pieces: Vec<String>,
    bound: bool,
    list: bool,
    comment: bool,
}

fn kinds(random: &mut StdRng) -> Vec<Kind> {
    (0..600)
        .map(|number| {
            let table = TABLES[number % TABLES.len()];
            let mut column = || COLUMNS[random.random_range(0..COLUMNS.len())];
            let (a, b, c, d, e) = (column(), column(), column(), column(), column());
            let line = if number % 3 == 0 { "\n  " } else { " " };
            let other = TABLES[(number / 7) % TABLES.len()];
            let pieces: Vec<String> = match number % 6 {
                0 => vec![format!("SELECT \"{table}\".* FROM \"{table}\" WHERE \"{table}\".\"{a}\" = "), format!(" AND \"{table}\".\"{b}\" = "), " LIMIT ".into(), String::new()],
                1 => vec![format!("SELECT {a}, {b}, {c}, count(*){line}FROM {table} AS t{line}JOIN {other} AS o ON o.id = t.{d}{line}WHERE t.{a} >= "), format!("{line}AND o.{e} <> "), format!("{line}GROUP BY 1, 2, 3{line}ORDER BY 4 DESC LIMIT "), String::new()],
                2 => vec![format!("INSERT INTO {table} ({a}, {b}, {c}, {d}, {e}){line}VALUES ("), ", ".into(), ", ".into(), ", ".into(), ", ".into(), ") RETURNING id".into()],
                3 => vec![format!("UPDATE {table} SET {a} = "), format!(", {b} = "), ", updated_at = now() WHERE id = ".into(), String::new()],
                4 => vec![format!("SELECT id, {a}, {b}, {c}, {d}, {e} FROM {table} WHERE {a} IN ("), ") ORDER BY id DESC".into()],
                _ => vec![format!("WITH recent AS ({line}SELECT * FROM {table} WHERE {a} > "), format!("{line}){line}SELECT r.{b}, o.{c}, coalesce(o.{d}, "), format!(") FROM recent AS r{line}LEFT JOIN {other} AS o USING ({e}) WHERE r.{b} LIKE "), String::new()],
            };
            Kind { pieces, bound: number % 2 == 0 && number % 6 != 4, list: number % 6 == 4, comment: number % 5 == 0 }
        })
        .collect()
}

fn value(random: &mut StdRng) -> (String, bool) {
    match random.random_range(0..4) {
        0 => (random.random_range(1..10_000_000).to_string(), false),
        1 => (format!("user{}@example.com", random.random_range(0..1_000_000)), true),
        2 => (format!("{:032x}", random.random::<u128>()), true),
        _ => {
            let length = random.random_range(3..60);
            let words = ["lorem", "it's", "dolor", "sit", "\"amet\"", "naïve", "x"];
            let text: String = (0..length / 5)
                .map(|_| words[random.random_range(0..words.len())])
                .collect::<Vec<_>>()
                .join(" ");
            (text, true)
        }
    }
}

/// Statement and DETAIL.
fn statement(kind: &Kind, random: &mut StdRng) -> (String, String) {
    let (mut sql, mut detail) = (String::new(), String::new());
    let quoted = |value: &str| format!("'{}'", value.replace('\'', "''"));
    for (number, piece) in kind.pieces.iter().enumerate() {
        sql.push_str(piece);
        if number + 1 == kind.pieces.len() {
            break;
        }
        if kind.bound {
            write!(sql, "${}", number + 1).unwrap();
            let separator = if detail.is_empty() { "parameters: " } else { ", " };
            write!(detail, "{separator}${} = {}", number + 1, quoted(&value(random).0)).unwrap();
            continue;
        }
        let elements = if kind.list { random.random_range(1..40) } else { 1 };
        for element in 0..elements {
            let (value, text) = value(random);
            let separator = if element > 0 { ", " } else { "" };
            write!(sql, "{separator}{}", if text { quoted(&value) } else { value }).unwrap();
        }
    }
    if kind.comment {
        write!(sql, " /*traceparent='00-{:032x}-01'*/", random.random::<u128>()).unwrap();
    }
    (sql, detail)
}

fn generate(path: &Path, format: &str, size: u64) {
    let mut random = StdRng::seed_from_u64(7);
    let kinds = kinds(&mut random);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let (mut written, mut time, mut number) = (0_u64, 0_u64, 0_u64);
    let mut text = String::new();
    let mut entry = Vec::new();
    while written < size {
        time += random.random_range(0..3);
        number += 1;
        let session = 2000 + random.random_range(0..200_u64);
        // Some kinds are asked much more often than others.
        let rank = (random.random::<f64>().powi(3) * kinds.len() as f64) as usize;
        let (mut sql, detail) = statement(&kinds[rank.min(kinds.len() - 1)], &mut random);
        if format.ends_with("different") {
            write!(sql, " -- x\n AND c{number} IS NULL").unwrap();
        }
        let ms = random.random_range(20..90_000) as f64 / 1000.0;
        let message = match number % 50 {
            0 => "BEGIN".to_owned(),
            1 => "COMMIT".to_owned(),
            _ => sql,
        };
        let word = if detail.is_empty() { "statement" } else { "execute <unnamed>" };
        let message = match number % 500 {
            7 => "checkpoint complete: wrote 123 buffers (0.8%); 0 WAL file(s) added, 0 removed, 2 recycled".to_owned(),
            _ => format!("duration: {ms:.3} ms  {word}: {message}"),
        };
        text.clear();
        render(&mut text, format, time, session, number, &message, &detail);
        entry.clear();
        entry.extend_from_slice(text.as_bytes());
        file.write_all(&entry).unwrap();
        written += entry.len() as u64;
    }
    file.flush().unwrap();
}

fn render(
    to: &mut String,
    format: &str,
    time: u64,
    session: u64,
    number: u64,
    message: &str,
    detail: &str,
) {
    let (ms, seconds) = (time % 1000, time / 1000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let time = format!("2026-01-31 {hour:02}:{minute:02}:{second:02}.{ms:03} UTC");
    let tabbed = |text: &str| text.replace('\n', "\n\t");
    match format {
        "csvlog" => {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let detail = if detail.is_empty() { String::new() } else { quoted(detail) };
            writeln!(to, "{time},\"app\",\"shop\",{session},\"10.0.0.7:4711\",697df5b0.{session:x},{number},\"SELECT\",2026-01-31 00:00:00 UTC,3/42,0,LOG,00000,{},{detail},,,,,,,,\"app\",\"client backend\",,0", quoted(message)).unwrap();
        }
        "jsonlog" => {
            let quoted =
                |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(to, "{{\"timestamp\":\"{time}\",\"user\":\"app\",\"dbname\":\"shop\",\"pid\":{session},\"remote_host\":\"10.0.0.7\",\"remote_port\":4711,\"session_id\":\"697df5b0.{session:x}\",\"line_num\":{number},\"ps\":\"SELECT\",\"session_start\":\"2026-01-31 00:00:00 UTC\",\"vxid\":\"3/42\",\"txid\":0,\"error_severity\":\"LOG\",\"message\":\"{}\"", quoted(message)).unwrap();
            if !detail.is_empty() {
                write!(to, ",\"detail\":\"{}\"", quoted(detail)).unwrap();
            }
            writeln!(
                to,
                ",\"application_name\":\"app\",\"backend_type\":\"client backend\",\"query_id\":0}}"
            )
            .unwrap();
        }
        "syslog" => {
            let mut lines = tabbed(&format!("{time} [{session}] LOG:  {message}"));
            if !detail.is_empty() {
                write!(lines, "\n{time} [{session}] DETAIL:  {detail}").unwrap();
            }
            for (part, line) in lines.lines().enumerate() {
                let line = line.replace('\t', "#011");
                writeln!(to, "Jan 31 {hour:02}:{minute:02}:{second:02} db1 postgres[{session}]: [{number}-{}] {line}", part + 1).unwrap();
            }
        }
        _ => {
            writeln!(to, "{time} [{session}] LOG:  {}", tabbed(message)).unwrap();
            if !detail.is_empty() {
                writeln!(to, "{time} [{session}] DETAIL:  {}", tabbed(detail)).unwrap();
            }
        }
    }
}
