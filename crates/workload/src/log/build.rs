//! The workload that comes of what was collected: statements by fingerprint, in their normal forms, with their
//! values, and the sessions.

use crate::capture::{beginning, usable};
use crate::directory::Unknown;
use crate::log::auto_explain::masked;
use crate::log::collect::Collector;
use crate::log::lexer::Scan;
use crate::log::mask::{LOG_MASKED, mask, mask_constants};
use crate::log::normal::{Normal, canonical, normal};
use crate::log::read::Reading;
use crate::log::recording::Recording;
use crate::log::table::{MOST_SHAPES, Shape};
use crate::log::values::{Set, decode};
use crate::log::{LogCapture, LogOptions};
use pgassay_model::Timestamp;
use pgassay_model::workload::{
    LoggedPlan, RecordedRequest, RecordedSession, SCHEMA, SkippedStatement, Workload,
    WorkloadStatement,
};
use std::collections::{BTreeMap, HashMap};

/// Statements listed one by one as skipped.
const MOST_SKIPPED: usize = 100;

/// A statement of the log that can be replayed.
struct Variant {
    hash: u64,
    shape: Shape,
    normal: Normal,
    writes: bool,
}

/// Variants with one fingerprint, the most called first.
#[derive(Default)]
struct Group {
    fingerprint: String,
    variants: Vec<Variant>,
    calls: u64,
    micros: u64,
}

impl Group {
    /// Puts a variant first whose parameters have the types that their places give, if one differs from the most
    /// called in casts only: a cast to integer, for a literal, would not let greater bound values pass.
    fn settle(&mut self) {
        let Some(first) = self.variants.first().map(|first| bare(&first.normal.sql)) else {
            return;
        };
        let plain = |variant: &Variant| {
            canonical(&variant.normal.sql) == first && bare(&variant.normal.sql) == first
        };
        if let Some(place) = self.variants.iter().position(plain) {
            self.variants.swap(0, place);
        }
    }

    /// Whether a variant's values stand for the parameters of the first.
    fn fits(&self, variant: &Variant) -> bool {
        self.variants.first().is_some_and(|first| {
            let (first, other) = (&first.normal.sql, &variant.normal.sql);
            first == other
                || canonical(first) == canonical(other)
                || canonical(first) == bare(first) && bare(first) == bare(other)
        })
    }
}

/// The canonical form without the casts of whole numbers.
fn bare(sql: &str) -> String {
    canonical(sql).replace("::integer", "").replace("::bigint", "")
}

/// Makes the workload.
pub(crate) fn build(collector: Collector<'_>, options: &LogOptions, read: &Reading) -> LogCapture {
    let Collector { table, recording, tally, .. } = collector;
    let mut notes = Vec::new();
    let mut skipped = Vec::new();
    let from_plans = tally.statements == 0;
    if from_plans {
        notes.push(format!(
            "the log holds no durations of statements but {} plans of auto_explain: calls and times are theirs, values are not known",
            tally.plans
        ));
    } else if tally.plans > 0 {
        notes.push(format!(
            "{} plans of auto_explain are not counted: their statements are logged",
            tally.plans
        ));
    }
    let (mut groups, refused) = grouped(table.shapes.into_iter().collect(), from_plans);
    groups.iter_mut().for_each(Group::settle);
    let listed = refused.len().min(MOST_SKIPPED);
    let more = refused.len() - listed;
    skipped.extend(refused.into_iter().take(listed).map(|(entry, _)| entry));
    let timed = groups.iter().any(|group| group.micros > 0);
    groups.sort_by(|a, b| {
        let weight = |group: &Group| if timed { group.micros } else { group.calls };
        weight(b).cmp(&weight(a)).then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    let total: u64 =
        groups.iter().map(|group| if timed { group.micros } else { group.calls }).sum();
    let rest = groups.split_off(options.limit.min(groups.len()));
    let mut left_out =
        |statement: String, reason: String| skipped.push(SkippedStatement { statement, reason });
    if !rest.is_empty() {
        let sum: u64 =
            rest.iter().map(|group| if timed { group.micros } else { group.calls }).sum();
        let of = if timed { "execution time" } else { "calls" };
        left_out(
            format!("{} statements", rest.len()),
            format!(
                "not among the {} with the most {of}; together {:.1} % of it",
                options.limit,
                100.0 * sum as f64 / total.max(1) as f64
            ),
        );
    }
    for (count, what, reason) in [
        (
            more as u64,
            "more statements",
            "can't be replayed for reasons like those above".to_owned(),
        ),
        (
            table.others.shapes,
            "other statements",
            format!(
                "the log holds more than the {MOST_SHAPES} different ones that are kept in memory; {} calls and {:.1} s of the lightest were forgotten, so counts of rare statements are lower bounds",
                table.others.calls,
                table.others.micros as f64 / 1e6
            ),
        ),
        (tally.too_long, "statements", "over 1 MB".into()),
        (read.too_long, "entries", "over 4 MB".into()),
        (tally.own, "statements", "of pgassay itself".into()),
        (tally.elsewhere, "statements", "of other databases".into()),
        (tally.failed, "calls", "failed, and are not counted".into()),
        (
            read.foreign,
            "lines",
            format!("no log entries, the first: {}", masked_line(&read.example, options)),
        ),
    ] {
        if count > 0 {
            left_out(format!("{count} {what}"), reason);
        }
    }
    for reason in &read.cut {
        left_out("the rest of a file".into(), reason.clone());
    }
    if tally.cut > 0 {
        notes.push(format!(
            "{} sets of values are cut off (log_parameter_max_length) or damaged, and not used",
            tally.cut
        ));
    }
    if tally.messages > 0 {
        notes.push(format!(
            "{} messages hold several statements: the time of each is its even share of the whole, and not recorded",
            tally.messages
        ));
    }
    if !timed {
        notes.push(
            "no durations are logged: statements are chosen by calls (set log_duration = on)"
                .into(),
        );
    }
    if recording.beyond > 0 {
        notes.push(format!(
            "the first {} requests are recorded as sessions; the {} behind them are counted, and their values sampled",
            recording.requests.len(),
            recording.beyond
        ));
    } else if recording.requests.is_empty() && !from_plans {
        notes.push("the log tells no sessions or times (%p or %c, and %m, in log_line_prefix): none are recorded".into());
    }
    if options.mask {
        notes.push(
            "values are masked: equal ones stay equal, but they are not in the database, so timings are those of the statements' shapes, not of the data"
                .into(),
        );
    }
    let total_ms = groups.iter().map(|group| group.micros as f64 / 1e3).collect();
    let (statements, sessions) = statements(groups, recording, options, &mut notes);
    let plans = statements.iter().filter(|statement| statement.plan.is_some()).count();
    if plans > 0 {
        notes.push(format!(
            "{plans} statements carry the plan of their slowest execution that auto_explain logged"
        ));
    }
    LogCapture {
        workload: Workload {
            schema: SCHEMA.to_owned(),
            generated_at: Timestamp::now(),
            source: source(read),
            statements,
            skipped,
            scripts: Vec::new(),
            sessions,
        },
        total_ms,
        notes,
    }
}

fn masked_line(line: &str, options: &LogOptions) -> String {
    if options.mask { "(masked)".into() } else { line.chars().take(100).collect() }
}

/// Puts shapes with one fingerprint together, which does not tell `orders_1` from `orders_2`, so the relations count,
/// too; also what can't be replayed, the most called first.
fn grouped(
    mut shapes: Vec<(u64, Shape)>,
    from_plans: bool,
) -> (Vec<Group>, Vec<(SkippedStatement, u64)>) {
    if from_plans {
        for (_, shape) in &mut shapes {
            (shape.calls, shape.micros) = (shape.plans, shape.plan_micros);
        }
    }
    shapes.sort_by_key(|(hash, shape)| (std::cmp::Reverse(shape.calls), *hash));
    let mut groups: BTreeMap<(String, Vec<String>), Group> = BTreeMap::new();
    let mut refused: Vec<(SkippedStatement, u64)> = Vec::new();
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    for (hash, shape) in shapes.into_iter().filter(|(_, shape)| shape.calls > 0) {
        let text = String::from_utf8_lossy(&shape.text).into_owned();
        match variant(&text, hash, shape) {
            Ok((fingerprint, relations, variant)) => {
                let group = groups.entry((fingerprint.clone(), relations)).or_default();
                group.fingerprint = fingerprint;
                group.calls += variant.shape.calls;
                group.micros += variant.shape.micros;
                group.variants.push(variant);
            }
            Err((reason, calls)) => {
                let entry = SkippedStatement { statement: beginning(&text), reason };
                let key = (entry.statement.clone(), entry.reason.clone());
                match known.get(&key).and_then(|at| refused.get_mut(*at)) {
                    Some((_, sum)) => *sum += calls,
                    None => {
                        known.insert(key, refused.len());
                        refused.push((entry, calls));
                    }
                }
            }
        }
    }
    for (entry, calls) in &mut refused {
        entry.reason.push_str(&format!("; {calls} calls"));
    }
    (groups.into_values().collect(), refused)
}

fn variant(
    text: &str,
    hash: u64,
    shape: Shape,
) -> Result<(String, Vec<String>, Variant), (String, u64)> {
    let calls = shape.calls;
    // The parser's message may quote the statement: its first line is enough, without what stands in quotes.
    let refuse = |reason: String| {
        (reason.split(" at or near ").next().unwrap_or_default().to_owned(), calls)
    };
    let fingerprint = usable(text).map_err(refuse)?;
    let mut scan = Scan::default();
    scan.read(text.as_bytes());
    let normal = normal(text.as_bytes(), &scan);
    let asked =
        pgassay_sql::shape(&normal.sql, &Unknown).map_err(|error| refuse(error.to_string()))?;
    Ok((
        fingerprint,
        asked.unknown_relations,
        Variant { hash, shape, normal, writes: asked.writes },
    ))
}

/// The statements with their values, and the sessions that refer to them.
fn statements(
    groups: Vec<Group>,
    recording: Recording,
    options: &LogOptions,
    notes: &mut Vec<String>,
) -> (Vec<WorkloadStatement>, Vec<RecordedSession>) {
    // By hash: the statement, and which literals are parameters where the values fit.
    let mut places: HashMap<u64, (usize, Option<Vec<bool>>)> = HashMap::new();
    let mut statements = Vec::with_capacity(groups.len());
    let mut counts = Vec::with_capacity(groups.len());
    for (number, group) in groups.iter().enumerate() {
        let Some(first) = group.variants.first() else { continue };
        for variant in &group.variants {
            let fits = group.fits(variant).then(|| variant.normal.parameters.clone());
            places.insert(variant.hash, (number, fits));
        }
        counts.push(pgassay_sql::parameter_count(&first.normal.sql).unwrap_or(0));
        let id = format!("q{}", group.fingerprint);
        statements.push(WorkloadStatement {
            id: match statements
                .iter()
                .filter(|known: &&WorkloadStatement| known.id.starts_with(&id))
                .count()
            {
                0 => id,
                others => format!("{id}-{}", others + 1),
            },
            sql: if options.mask {
                mask_constants(&first.normal.sql, options.mask_key)
            } else {
                first.normal.sql.clone()
            },
            weight: group.calls as f64,
            writes: group.variants.iter().any(|variant| variant.writes),
            parameters: Vec::new(),
            parameter_source: String::new(),
            queryid: group.variants.iter().find_map(|variant| variant.shape.query_id),
            plan: slowest_plan(group, options),
            ..WorkloadStatement::default()
        });
    }
    let mut sessions = sessions(&recording, &mut statements, &places, &counts, options);
    if recording.beyond > 0 || sessions.is_empty() {
        for group in &groups {
            for variant in &group.variants {
                let Some((number, Some(parameters))) = places.get(&variant.hash) else { continue };
                let (Some(statement), Some(count)) =
                    (statements.get_mut(*number), counts.get(*number))
                else {
                    continue;
                };
                let sets = variant.shape.sets.iter();
                statement
                    .parameters
                    .extend(sets.filter_map(|set| parameters_of(set, parameters, *count, options)));
            }
        }
    }
    for (statement, count) in statements.iter_mut().zip(&counts) {
        statement.parameter_source = match (count, statement.parameters.is_empty()) {
            (0, _) => "none needed",
            // Filled from the database.
            (_, true) => "",
            (_, false) if options.mask => LOG_MASKED,
            (_, false) => "log",
        }
        .to_owned();
        if *count == 0 {
            statement.parameters.clear();
        }
    }
    let borrowed = sessions
        .iter()
        .flat_map(|session| &session.requests)
        .filter(|request| request.parameters == usize::MAX)
        .filter(|request| counts.get(request.statement).is_some_and(|count| *count > 0))
        .count();
    if borrowed > 0 {
        notes.push(format!(
            "{borrowed} of the recorded requests take values of others of their statement: their own are not known, or are lists of other lengths"
        ));
    }
    // These take turns with the others'.
    for (turn, request) in sessions.iter_mut().flat_map(|session| &mut session.requests).enumerate()
    {
        let sets =
            statements.get(request.statement).map_or(0, |statement| statement.parameters.len());
        if request.parameters >= sets {
            request.parameters = turn.checked_rem(sets).unwrap_or(0);
        }
    }
    (statements, sessions)
}

/// The plan of the slowest execution that auto_explain logged.
fn slowest_plan(group: &Group, options: &LogOptions) -> Option<LoggedPlan> {
    let plans = group.variants.iter().filter_map(|variant| variant.shape.plan.as_ref());
    let (micros, plan) = plans.max_by_key(|(micros, _)| *micros)?;
    let text = String::from_utf8_lossy(plan).into_owned();
    let text = if options.mask { masked(&text, options.mask_key) } else { text };
    Some(LoggedPlan { took_ms: *micros as f64 / 1e3, text })
}

/// A set for the statement's parameters; None where it has another number of values (a longer list).
fn parameters_of(
    bytes: &[u8],
    parameters: &[bool],
    count: usize,
    options: &LogOptions,
) -> Option<Vec<Option<String>>> {
    let Set { bound, literals } = decode(bytes);
    if literals.len() != parameters.len() {
        return None;
    }
    let kept = literals.into_iter().zip(parameters).filter(|(_, is)| **is).map(|(value, _)| value);
    let mut values: Vec<Option<String>> = bound.into_iter().chain(kept).collect();
    if count == 0 || values.len() != count {
        return None;
    }
    if options.mask {
        for value in values.iter_mut().flatten() {
            *value = mask(value, options.mask_key);
        }
    }
    Some(values)
}

/// The recorded sessions; each request's values become a set of its statement.
fn sessions(
    recording: &Recording,
    statements: &mut [WorkloadStatement],
    places: &HashMap<u64, (usize, Option<Vec<bool>>)>,
    counts: &[usize],
    options: &LogOptions,
) -> Vec<RecordedSession> {
    let usable = || {
        recording
            .requests
            .iter()
            .filter(|request| !request.failed)
            .filter_map(|request| Some((request, places.get(&request.hash)?)))
    };
    let Some(start) = usable().map(|(request, _)| request.at).min() else { return Vec::new() };
    let mut sessions: Vec<RecordedSession> = recording
        .names
        .iter()
        .map(|name| RecordedSession { id: name.clone(), requests: Vec::new() })
        .collect();
    for (request, (number, parameters)) in usable() {
        let (Some(statement), Some(session)) =
            (statements.get_mut(*number), sessions.get_mut(request.session as usize))
        else {
            continue;
        };
        let count = counts.get(*number).copied().unwrap_or(0);
        let set = parameters
            .as_ref()
            .zip(recording.set(request))
            .and_then(|(parameters, set)| parameters_of(set, parameters, count, options));
        let place = match set {
            Some(set) => {
                statement.parameters.push(set);
                statement.parameters.len() - 1
            }
            None => usize::MAX,
        };
        // Times have milliseconds, durations have microseconds: a request does not begin before the last one did.
        let last = session.requests.last().map_or(0, |last| last.at_us);
        session.requests.push(RecordedRequest {
            at_us: u64::try_from(request.at - start).unwrap_or(0).max(last),
            statement: *number,
            parameters: place,
            took_us: request.took.map(u64::from),
            transaction: request.transaction,
            rolled_back: recording.was_rolled_back(request),
        });
    }
    sessions.retain(|session| !session.requests.is_empty());
    sessions.sort_by_key(|session| session.requests.first().map(|request| request.at_us));
    sessions
}

/// "log a.csv, b.csv.gz (csvlog)".
fn source(read: &Reading) -> String {
    let names: Vec<String> = read
        .files
        .iter()
        .take(3)
        .map(|(path, format)| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            format!("{} ({format})", name.unwrap_or_default())
        })
        .collect();
    let more = read.files.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("log {}{more}", names.join(", "))
}
