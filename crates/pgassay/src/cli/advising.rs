//! `advise` and `bundle`: their names and flags.

use clap::{Args, Subcommand, ValueEnum};
use pgassay_model::units::{Bytes, parse_duration};
use std::path::PathBuf;
use std::time::Duration;

/// What `advise` is given: a server with what is asked of it, or a bundle in place of both.
const ADVISE_USAGE: &str = "pgassay advise [OPTIONS] --workload <W> <DSN>
       pgassay advise [OPTIONS] --sql <SQL> <DSN>
       pgassay advise [OPTIONS] --bundle <FILE>";

/// `advise`.
#[derive(Debug, Args)]
#[command(override_usage = ADVISE_USAGE)]
pub struct Advise {
    /// The server
    #[arg(required_unless_present = "bundle")]
    pub dsn: Option<String>,
    /// A file from `bundle export` in place of the server and the workload
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dsn", "workload", "sql"])]
    pub bundle: Option<PathBuf>,
    /// Workload
    #[arg(long, value_name = "W", required_unless_present_any = ["sql", "bundle"])]
    pub workload: Option<PathBuf>,
    /// A statement instead of a workload; what is advised beside indexes is on its relations alone
    #[arg(long, conflicts_with = "workload")]
    pub sql: Option<String>,
    /// Most that new indexes may take
    #[arg(long, value_name = "SIZE")]
    pub budget: Vec<Bytes>,
    /// Most keys of an index
    #[arg(long, default_value_t = 3)]
    pub max_width: usize,
    /// How long it may take in all, reading the server included
    #[arg(long, value_parser = parse_duration)]
    pub time_limit: Option<Duration>,
    /// What answers what an index would bring
    #[arg(long, value_enum, default_value_t = EngineArg::Auto)]
    pub engine: EngineArg,
    /// Print only the DDL
    #[arg(long)]
    pub ddl: bool,
}

/// `bundle`.
#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Write schema, statistics and workload of a server to a file, without table data
    Export(BundleExport),
}

/// `bundle export`.
#[derive(Debug, Args)]
pub struct BundleExport {
    /// The server
    pub dsn: String,
    /// Workload [default: captured from pg_stat_statements]
    #[arg(long, value_name = "W")]
    pub workload: Option<PathBuf>,
    /// Also the first and last row of each index: what the planner estimates at the ends of a column
    #[arg(long)]
    pub with_rows: bool,
    /// No row of any table: at the ends of columns histograms stand, as of the last ANALYZE (the default)
    #[arg(long, conflicts_with = "with_rows")]
    pub no_data: bool,
    /// Pseudonyms for values: `=` on numbers, texts, UUIDs, dates and times is estimated as on the server
    #[arg(long, conflicts_with_all = ["with_rows", "no_values"], long_help = HASH_VALUES)]
    pub hash_values: bool,
    /// No value of any column: all values of a column count as equally common
    #[arg(long, conflicts_with = "with_rows", long_help = NO_VALUES)]
    pub no_values: bool,
    /// File to write (packed with zstd); it holds values of columns, unless told otherwise
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

const HASH_VALUES: &str = "\
Pseudonyms for values: common values of whole and decimal numbers, texts, UUIDs, dates, times and booleans, and what
statements look up by `=` and IN, become keyed hashes (the key is made for the export and kept nowhere; the same value is the same everywhere in the file).
So `=`, IN and joins are estimated as on the server. Worse: ranges, BETWEEN, LIKE and columns compared so, which have no
histogram and no list, and other types, which have only their number of distinct values; such columns are named. Other
values in statements are replaced by some of the same form (digits by digits, letters by letters, dates within their
year, keys of JSON as well); bounds of ranges over numbers, dates and times keep their order, those over texts may not.
Statements that can't be are left out and named. Kept: how often each pseudonym occurs, from which known values may be
guessed, the keys that statements take out of documents (->, #>), and the schema with the constants that it spells out.
Bodies of functions and views that no statement needs are left out of every bundle. A partial index that is proposed for a pseudonym names that: put the value in its
place.";
const NO_VALUES: &str = "\
No value of any column: statistics keep shares of NULLs, widths, numbers of distinct values and the correlation with the
order on disk. Worse: `=` is estimated as if all values of a column were equally common, ranges, LIKE and elements of
arrays by the planner's defaults (a third of the rows above or below a value, 0.5 % between two), joins by the numbers of
distinct values. Values in statements are replaced by some of the same form, keys of JSON as well; bounds of ranges over
numbers, dates and times keep their order, those over texts may not. Statements that can't be are left out and named.
Kept: the keys that statements take out of documents (->, #>), and the schema with the constants that it spells out.";

/// What answers what-if questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// The shadow where it can be built, else HypoPG, else rules from statistics.
    Auto,
    /// HypoPG, which has to be installed in the database.
    Hypopg,
    /// A server without data on this machine, of the same major version, with the target's statistics.
    Shadow,
}
