//! The command line: names and flags as users and scripts know them.

mod advising;

pub use advising::{Advise, Bundle, BundleExport, EngineArg};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pgassay_model::units::{Bytes, parse_duration};
use std::path::PathBuf;
use std::time::Duration;

/// Makes a running PostgreSQL (and the PgBouncer in front of it) faster, and proves it.
#[derive(Debug, Parser)]
#[command(name = "pgassay", version, max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// PgBouncer's console: postgresql://ADMIN@HOST:6432/pgbouncer
    #[arg(long, global = true, value_name = "ADMIN_DSN")]
    pub pgbouncer: Option<String>,
    /// PgBouncer's configuration file, when it may be edited
    #[arg(long, global = true, value_name = "FILE")]
    pub pgbouncer_ini: Option<PathBuf>,
    /// PgBouncer's program, for rehearsing a configuration [default: found on PATH]
    #[arg(long, global = true, value_name = "FILE")]
    pub pgbouncer_bin: Option<PathBuf>,
    /// The way the application connects, usually through PgBouncer [default: DSN]
    #[arg(long, global = true, value_name = "DSN")]
    pub app_dsn: Option<String>,
    /// Directory of the journal, backups and history [env: PGASSAY_STATE]
    // Not by clap's `env`: what the environment gives would stand in the usage line of every error.
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Settings file (TOML): keys are flags' names, a command's own in a table of its name
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of PostgreSQL's programs [default: found on PATH and in the usual places]
    #[arg(long, global = true, value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Print exactly one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but the answer
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more of what is going on (twice: still more)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colour in terminal output
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Ask no questions
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
}

impl Common {
    /// The state directory that was asked for, by flag or environment.
    pub fn state(&self) -> Option<PathBuf> {
        let set = || std::env::var_os("PGASSAY_STATE").filter(|value| !value.is_empty());
        self.state.clone().or_else(|| set().map(PathBuf::from))
    }
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole job on a throw-away PostgreSQL and PgBouncer
    Demo(Demo),
    /// Write a workload from what the server has seen
    Capture(Capture),
    /// Drive a workload; print latency and where it goes
    Measure(Measure),
    /// Propose indexes; nothing is applied
    Advise(Advise),
    /// What advice needs of a server, for where it can't be reached
    #[command(subcommand)]
    Bundle(Bundle),
    /// Propose a whole plan of changes; nothing is applied
    Plan(PlanArgs),
    /// Apply a plan, journalled
    Apply(Apply),
    /// Measure an applied run again
    Verify(Verify),
    /// The verdict between two measurements
    Compare(Compare),
    /// Measure, plan, apply, verify, keep or roll back, report
    Optimize(Optimize),
    /// Undo a run, or one of its changes
    Rollback(Rollback),
    /// List runs and their state, unfinished ones first
    History(HistoryArgs),
    /// The report of a past run
    Report(ReportArgs),
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// What to show
    #[arg(long, default_value = "oauth", value_name = "NAME")]
    pub scenario: String,
    /// Rows, as a multiple of the scenario's own
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// How long each side of a comparison is measured
    #[arg(long, value_parser = parse_duration, default_value = "24s")]
    pub duration: Duration,
    /// Folder for the report [default: pgassay-demo-SCENARIO]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Try the changes on a copy of the server first
    #[arg(long)]
    pub rehearse: bool,
    /// Leave the servers running, for looking around and for `rollback`
    #[arg(long)]
    pub keep: bool,
}

/// `capture`.
#[derive(Debug, Args)]
#[command(after_long_help = CAPTURE_HELP)]
pub struct Capture {
    /// The server; `--from log` also works without, then nothing is checked on it
    pub dsn: Option<String>,
    /// Where statements are read from
    #[arg(long, value_enum, default_value_t = CaptureSource::Statements)]
    pub from: CaptureSource,
    /// A log, or a directory of logs; `-` is standard input. May be given several times
    #[arg(long, value_name = "FILE")]
    pub log: Vec<PathBuf>,
    /// log_line_prefix that the server had when it wrote the log [default: the server's now; '%m [%p] ' without one]
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    pub log_line_prefix: Option<String>,
    /// Replace values by others of the same form
    #[arg(long)]
    pub mask: bool,
    /// Mask by this number, so that equal values are equal in several files [default: a random one for each file]
    #[arg(long, value_name = "N", requires = "mask")]
    pub mask_seed: Option<u64>,
    /// Only so much of the log, counted back from its end; of statements: what comes within this time from now
    #[arg(long, value_parser = parse_duration, value_name = "D")]
    pub window: Option<Duration>,
    /// Keep at most this many statements, by total time
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Don't run statements on the server to see whether the values drawn for them are representative
    #[arg(long)]
    pub no_check: bool,
    /// Workload file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// What `capture --help` adds.
const CAPTURE_HELP: &str = "\
Logs: stderr with any log_line_prefix, csvlog, jsonlog (15 and later) and syslog, plain or packed by gzip or zstd, \
told apart by their content; several files are read in order of time. Messages must be in English (lc_messages). \
Statements come from log_min_duration_statement or from log_statement with log_duration, in their absence from \
auto_explain; values from DETAIL lines and literals. Put %p or %c, %m and %d into log_line_prefix for sessions, times \
and databases, %Q for joining by queryid.

Memory stays below 200 MB: the 10,000 statements with the most time are kept while reading (the lightest are \
forgotten and counted), 200 sets of values of each are sampled, the first 100,000 requests are recorded as \
sessions; statements over 1 MB are left out.

Values drawn from rows or statistics are checked on the server: statements that read run under EXPLAIN (ANALYZE) in \
read-only transactions, with 3 of their sets (15 where these look off), each up to 1 s, all together up to 5 s. \
Where rows or blocks per call are off by a factor of 3 from those in pg_stat_statements, the statement is marked \
as not representative. --no-check leaves this out.

--mask: a digit becomes a digit, a letter a letter; dates, UUIDs, JSON and numbers stay valid, equal values stay \
equal within the file, NULL and booleans stay. Who knows --mask-seed can find short values by trying, so without it \
a random number is used and told nowhere. Look-ups with masked values mostly find nothing, ranges select other shares: \
measure with unmasked values where you can.";

/// Where `capture` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureSource {
    /// pg_stat_statements.
    Statements,
    /// The server's log.
    Log,
    /// Both: calls from pg_stat_statements, values and sessions from the log.
    Both,
}

/// How a workload is driven.
#[derive(Debug, Args, Clone)]
pub struct Drive {
    /// Closed loop with N clients [default: 8]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    pub clients: Option<u32>,
    /// Open loop with R requests per second, latency counted from the intended start
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// How long to measure [default: 30s; recorded sessions: to their end; `verify`: as long as before]
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Load that is driven first and not counted
    #[arg(long, value_parser = parse_duration, default_value = "2s")]
    pub warmup: Duration,
    /// Replay recorded sessions X times as fast as they ran, at most --clients at once [default: 1, where the
    /// workload has sessions and neither --clients nor --rate is given to draw statements by weight]
    #[arg(long, value_name = "X", conflicts_with = "rate")]
    pub speed: Option<f64>,
    /// When connections are opened
    #[arg(long, value_enum, default_value_t = ConnectArg::Reuse)]
    pub connect: ConnectArg,
    /// How statements are sent [default: extended; `verify`: as before]
    #[arg(long, value_enum)]
    pub protocol: Option<ProtocolArg>,
    /// What becomes of what the workload writes [default: refuse, with --yes run]
    #[arg(long, value_enum)]
    pub writes: Option<WritesArg>,
    /// The server itself, where DSN goes through a pooler: for the parts that only it can tell
    #[arg(long, value_name = "DSN")]
    pub direct: Option<String>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

/// When connections are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConnectArg {
    /// Once per client.
    Reuse,
    /// Anew for every request.
    PerRequest,
}

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// By the simple protocol, values as literals.
    Simple,
    /// By the extended protocol, unnamed: parsed and planned every time.
    Extended,
    /// Prepared once on each connection; a pooler must keep them.
    Prepared,
}

/// What becomes of what a workload writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WritesArg {
    /// A workload that writes is not driven.
    Refuse,
    /// Each request that writes is wrapped into a transaction that is rolled back.
    Rollback,
    /// It is committed.
    Run,
    /// It is committed on a throw-away copy of the server on this machine, and the server is driven only by what
    /// reads (`optimize`: changes are judged on the copies, as with --rehearse).
    Copy,
}

/// `measure`.
#[derive(Debug, Args)]
pub struct Measure {
    /// The server, or the pooler before it
    pub dsn: String,
    /// Workload: a file from `capture`, a directory of .sql files, or pgbench scripts (FILE, FILE@WEIGHT,…)
    #[arg(long, value_name = "W")]
    pub workload: PathBuf,
    /// How to drive it.
    #[command(flatten)]
    pub drive: Drive,
    /// Also write the document to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The server
    pub dsn: String,
    /// Workload [default: captured from pg_stat_statements]
    #[arg(long, value_name = "W")]
    pub workload: Option<PathBuf>,
    /// A measurement of it, for the ledger (a file from `measure --output`)
    #[arg(long, value_name = "FILE")]
    pub measurement: Option<PathBuf>,
    /// Most that new indexes may take
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<Bytes>,
    /// Plan file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Judging by what the application itself runs.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "Watching the application")]
pub struct Passive {
    /// Judge by what the application itself runs (pg_stat_statements), before and after; no load is driven
    #[arg(long)]
    pub passive: bool,
    /// How long to watch, on each side of a comparison, at most 72h
    #[arg(long, value_name = "D", value_parser = parse_duration, default_value = "30min", requires = "passive")]
    pub window: Duration,
    /// How often to read the statistics, at least 10s [default: 1min, or a 720th of the window]
    #[arg(long, value_name = "D", value_parser = parse_duration, requires = "passive")]
    pub bucket: Option<Duration>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// Plan file
    pub plan: PathBuf,
    /// The server
    pub dsn: String,
    /// Only these changes
    #[arg(long, value_name = "ID")]
    pub change: Vec<String>,
    /// Check everything, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --passive: keep what could not be told from noise, too
    #[arg(long, requires = "passive")]
    pub keep_inconclusive: bool,
    /// How the application is watched.
    #[command(flatten)]
    pub passive: Passive,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The run
    pub run: String,
    /// The server
    pub dsn: String,
    /// Workload [default: the run's own]
    #[arg(long, value_name = "W")]
    pub workload: Option<PathBuf>,
    /// A target on the response time
    #[arg(long, value_name = "T", default_value = "p95<100ms")]
    pub target: String,
    /// A gain to reach: the interval's near end of the change in mean latency
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    pub gain: String,
    /// How the application is watched.
    #[command(flatten)]
    pub passive: Passive,
    /// How to drive it.
    #[command(flatten)]
    pub drive: Drive,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Measurement before
    pub before: PathBuf,
    /// Measurement after
    pub after: PathBuf,
}

/// `optimize`.
#[derive(Debug, Args)]
pub struct Optimize {
    /// The server
    pub dsn: String,
    /// Workload [default: captured from pg_stat_statements]
    #[arg(long, value_name = "W")]
    pub workload: Option<PathBuf>,
    /// A target on the response time
    #[arg(long, value_name = "T", default_value = "p95<100ms")]
    pub target: String,
    /// A gain to reach: the interval's near end of the change in mean latency
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    pub gain: String,
    /// Try the changes on a copy of the server first (pg_basebackup, else pg_dump; on this machine)
    #[arg(long)]
    pub rehearse: bool,
    /// Keep what could not be told from noise, too
    #[arg(long)]
    pub keep_inconclusive: bool,
    /// Most that new indexes may take
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<Bytes>,
    /// Folder for the report [default: pgassay-RUN]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Don't run what was captured on the server to see whether the values drawn for it are representative
    #[arg(long)]
    pub no_check: bool,
    /// How to drive it.
    #[command(flatten)]
    pub drive: Drive,
}

/// `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// RUN or RUN/CHANGE; `latest` for the newest run with something to undo
    pub run: String,
    /// The server
    pub dsn: String,
}

/// `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only runs on this server
    pub dsn: Option<String>,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run, or `latest`
    pub run: String,
    /// Format
    #[arg(long, value_enum, default_value_t = Format::Md)]
    pub format: Format,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Report formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Markdown.
    Md,
    /// HTML, self-contained.
    Html,
    /// The run document.
    Json,
}
