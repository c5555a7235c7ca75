//! Watching what the application runs: pg_stat_statements read bucket by bucket, nothing driven.

use crate::failure::{Exit, Failure};
use crate::passive::watch::Watch;
use crate::target::{Target, postgres_failure};
use jiff::Timestamp;
use pgassay_judge::AbortRules;
use pgassay_model::index::RelationName;
use pgassay_model::observation::{
    self, Bucket, Observation, ObservedStatement, StatementActivity, statement_key,
};
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::{Activity, ActivityReader, PostgresError, Session, memory_used};
use pgassay_sql::{Catalog, StatementKind};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Statements of a bucket that are told apart, by their time; the rest is summed.
const MOST_STATEMENTS: usize = 500;
/// How often the interrupt flag is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How often a reading that failed is tried again, on a new connection.
const ATTEMPTS: u32 = 3;

/// A window with a change in force.
pub struct Watched {
    /// What ran.
    pub observation: Observation,
    /// Why the change has to go at once; the window ended with that.
    pub aborted: Option<String>,
}

/// Pairs of buckets without and with a change.
pub struct Switched {
    /// The buckets without it.
    pub without: Observation,
    /// Those with it, the i-th paired with the i-th without.
    pub with: Observation,
    /// Why the change has to go at once.
    pub aborted: Option<String>,
    /// Whether the change is in force.
    pub on: bool,
}

/// Reads a server again and again.
pub struct Observer<'a> {
    target: &'a Target,
    /// How.
    pub watch: &'a Watch,
    /// The server as it was found.
    pub snapshot: Snapshot,
    session: Session,
    reader: ActivityReader,
    /// Statements met so far; None: pgassay's own.
    known: HashMap<(u32, i64), Option<ObservedStatement>>,
}

/// Counters and the moment they were read.
type Reading = (Instant, Activity);

impl<'a> Observer<'a> {
    /// Looks for pg_stat_statements, and refuses where it can't be read.
    pub async fn open(target: &'a Target, watch: &'a Watch) -> Result<Self, Failure> {
        let session = target.observe().await?;
        let reader = ActivityReader::open(&session).await.map_err(unreadable)?;
        if reader.track == "none" {
            return Err(Failure::new(
                Exit::Missing,
                "pg_stat_statements.track is none: no statement is counted",
                "ALTER SYSTEM SET pg_stat_statements.track = 'top'; SELECT pg_reload_conf()",
            ));
        }
        reader.read(&session).await.map_err(unreadable)?;
        let snapshot = target.snapshot(&session).await?;
        Ok(Observer { target, watch, snapshot, session, reader, known: HashMap::new() })
    }

    /// The server that is watched.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// The session that reads.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the memory of the server's host can be seen.
    pub fn sees_memory(&self) -> bool {
        memory_used(self.snapshot.host.as_ref()).is_some()
    }

    /// Watches one window; with `rules`, which a change in force is held against, until they say stop.
    pub async fn window(
        &mut self,
        which: &str,
        mut rules: Option<AbortRules<'_>>,
    ) -> Result<Watched, Failure> {
        let count = self.watch.buckets();
        if rules.is_some() {
            self.wait_until(Instant::now() + self.watch.settling()).await?;
        }
        let mut notebook = Notebook::new();
        let mut last = self.read().await?;
        notebook.began = last.0;
        let first_evictions = last.1.evictions;
        let mut aborted = None;
        for number in 1..=count {
            // After a reading that came late, for a lost connection, the bucket is not to be empty.
            let planned = notebook.began + self.watch.bucket * number as u32;
            let end = planned.max(last.0 + self.watch.bucket / 2);
            let (bucket, next) = self.bucket(&last, end, notebook.began).await?;
            last = next;
            self.tell(which, number, count, bucket.as_ref());
            if let (Some(bucket), Some(rules)) = (&bucket, &mut rules) {
                aborted = rules.look(bucket);
            }
            notebook.add(bucket);
            if aborted.is_some() {
                break;
            }
        }
        let evictions = last.1.evictions.zip(first_evictions).map(|(b, a)| b.saturating_sub(a));
        Ok(Watched { observation: self.close(notebook, evictions), aborted })
    }

    /// Watches pairs of buckets, one without and one with a change, in random order; `switch` turns it on or off,
    /// and it is on at first. What follows a switch is left out for a while.
    pub async fn pairs(
        &mut self,
        pairs: usize,
        mut rules: AbortRules<'_>,
        mut switch: impl AsyncFnMut(bool) -> Result<(), Failure>,
    ) -> Result<Switched, Failure> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(self.watch.seed);
        let (mut without, mut with) = (Notebook::new(), Notebook::new());
        let (mut on, mut aborted) = (true, None);
        let mut evictions = self.reader_evictions().await?;
        'pairs: for pair in 1..=pairs {
            let first = random.random::<bool>();
            let mut found = [None, None];
            for wanted in [first, !first] {
                if wanted != on {
                    switch(wanted).await?;
                    on = wanted;
                }
                self.wait_until(Instant::now() + self.watch.settling()).await?;
                let from = self.read().await?;
                let end = from.0 + self.watch.bucket - self.watch.settling();
                let (bucket, _) = self.bucket(&from, end, without.began).await?;
                let which = if wanted { "with the change" } else { "without the change" };
                self.tell(which, pair, pairs, bucket.as_ref());
                match &bucket {
                    Some(bucket) if wanted => aborted = rules.look(bucket),
                    Some(bucket) => rules.note_without(bucket),
                    None => {}
                }
                if aborted.is_some() {
                    break 'pairs;
                }
                if let Some(place) = found.get_mut(usize::from(wanted)) {
                    *place = bucket;
                }
            }
            // A pair is whole or none.
            let [off, on] = found;
            match (off, on) {
                (Some(off), Some(on)) => {
                    without.add(Some(off));
                    with.add(Some(on));
                }
                _ => {
                    without.add(None);
                    with.add(None);
                }
            }
        }
        let now = self.reader_evictions().await?;
        evictions = now.zip(evictions).map(|(now, then)| now.saturating_sub(then));
        Ok(Switched {
            without: self.close(without, evictions),
            with: self.close(with, evictions),
            aborted,
            on,
        })
    }

    async fn reader_evictions(&mut self) -> Result<Option<u64>, Failure> {
        Ok(self.read().await?.1.evictions)
    }

    /// `idx_scan` of each index. The session may have idled for as long as an index was built: a reading finds that
    /// out, and connects again.
    pub async fn index_scans(&mut self) -> Result<BTreeMap<String, u64>, Failure> {
        self.read().await?;
        pgassay_postgres::index_scans(&self.session).await.map_err(postgres_failure)
    }

    /// Says something that stays on the screen.
    pub fn say(&self, what: &str) {
        self.target.progress.say(what);
    }

    fn tell(&self, which: &str, number: usize, count: usize, bucket: Option<&Bucket>) {
        let progress = &self.target.progress;
        progress.at(number as f64 / count.max(1) as f64);
        progress.say(match bucket {
            Some(bucket) => format!(
                "{which}, bucket {number} of {count}: {} calls, {:.0} ms of server time",
                bucket.calls(),
                bucket.total_ms()
            ),
            None => format!(
                "{which}, bucket {number} of {count}: pg_stat_statements was reset in it; it is left out"
            ),
        });
    }

    /// The bucket from a reading to `end`, and the reading there; None where the counters were reset in it.
    async fn bucket(
        &mut self,
        from: &Reading,
        end: Instant,
        began: Instant,
    ) -> Result<(Option<Bucket>, Reading), Failure> {
        self.wait_until(end).await?;
        let to = self.read().await?;
        let Some(deltas) = deltas(&from.1, &to.1) else {
            return Ok((None, to));
        };
        self.learn(deltas.keys().copied()).await?;
        let mut own: Vec<(String, StatementActivity)> = deltas
            .into_iter()
            .filter(|(key, _)| self.known.get(key).is_some_and(Option::is_some))
            .map(|((user, queryid), activity)| (statement_key(user, queryid), activity))
            .collect();
        own.sort_by(|(_, a), (_, b)| b.time_ms.partial_cmp(&a.time_ms).unwrap_or(Ordering::Equal));
        let rest = own.split_off(own.len().min(MOST_STATEMENTS));
        let mut others = StatementActivity::default();
        rest.iter().for_each(|(_, activity)| others.add(activity));
        let (before, after) = (&from.1, &to.1);
        let bucket = Bucket {
            start_s: from.0.saturating_duration_since(began).as_secs_f64(),
            duration_s: to.0.saturating_duration_since(from.0).as_secs_f64(),
            statements: own.into_iter().collect(),
            others,
            commits: after.commits.saturating_sub(before.commits),
            rollbacks: after.rollbacks.saturating_sub(before.rollbacks),
            deadlocks: after.deadlocks.saturating_sub(before.deadlocks),
            memory_used: memory_used(self.snapshot.host.as_ref()),
        };
        Ok((Some(bucket), to))
    }

    /// Finds out the texts of statements not met before.
    async fn learn(&mut self, keys: impl Iterator<Item = (u32, i64)>) -> Result<(), Failure> {
        let new: Vec<(u32, i64)> = keys.filter(|key| !self.known.contains_key(key)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let queryids: Vec<i64> = new.iter().map(|(_, queryid)| *queryid).collect();
        let texts = self.reader.texts(&self.session, &queryids).await.map_err(postgres_failure)?;
        for (user, queryid) in new {
            // Evicted between the two queries: its text is asked for again when it is met again.
            let Some(text) = texts.get(&queryid) else { continue };
            self.known.insert((user, queryid), named(user, queryid, text));
        }
        Ok(())
    }

    /// Reads the counters; where that fails, on a new connection.
    async fn read(&mut self) -> Result<Reading, Failure> {
        let mut attempt = 1;
        loop {
            match self.reader.read(&self.session).await {
                Ok(activity) => return Ok((Instant::now(), activity)),
                Err(error) if attempt >= ATTEMPTS => return Err(unreadable(error)),
                Err(error) => {
                    tracing::warn!(%error, "reading pg_stat_statements failed; connecting again");
                    attempt += 1;
                    self.wait_until(Instant::now() + Duration::from_secs(1)).await?;
                    if let Ok(session) = self.target.observe().await {
                        self.session = session;
                    }
                }
            }
        }
    }

    async fn wait_until(&self, end: Instant) -> Result<(), Failure> {
        loop {
            if self.target.interrupt.requested() {
                return Err(Failure::new(Exit::Interrupted, "interrupted", ""));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(GLANCE)).await;
        }
    }

    fn close(&self, notebook: Notebook, evictions: Option<u64>) -> Observation {
        let seen: BTreeSet<&String> =
            notebook.buckets.iter().flat_map(|bucket| bucket.statements.keys()).collect();
        let statements = self
            .known
            .values()
            .flatten()
            .map(|known| (statement_key(known.user, known.queryid), known))
            .filter(|(key, _)| seen.contains(key))
            .map(|(key, known)| (key, known.clone()))
            .collect();
        Observation {
            schema: observation::SCHEMA.to_owned(),
            started_at: notebook.started_at,
            ended_at: Timestamp::now(),
            target: self.target.server.to_string(),
            bucket_s: self.watch.bucket.as_secs_f64(),
            statements,
            buckets: notebook.buckets,
            resets: notebook.resets,
            evictions,
            with_planning: self.reader.with_planning,
        }
    }
}

/// A window being written.
struct Notebook {
    started_at: Timestamp,
    began: Instant,
    buckets: Vec<Bucket>,
    resets: u32,
}

impl Notebook {
    fn new() -> Self {
        Notebook {
            started_at: Timestamp::now(),
            began: Instant::now(),
            buckets: Vec::new(),
            resets: 0,
        }
    }

    fn add(&mut self, bucket: Option<Bucket>) {
        match bucket {
            Some(bucket) => self.buckets.push(bucket),
            None => self.resets += 1,
        }
    }
}

/// What each statement did between two readings; None where all counters were reset in between, since what was
/// counted before the reset is lost.
///
/// An entry that was not there before, or was evicted and came back, has counted only calls of this bucket: its
/// counters are what is known of it.
fn deltas(before: &Activity, after: &Activity) -> Option<HashMap<(u32, i64), StatementActivity>> {
    if before.reset_at != after.reset_at {
        return None;
    }
    let mut deltas = HashMap::new();
    for (key, now) in &after.statements {
        let then = before
            .statements
            .get(key)
            .filter(|then| then.since == now.since && then.calls <= now.calls)
            .copied()
            .unwrap_or_default();
        if now.calls > then.calls {
            let activity = StatementActivity {
                calls: now.calls - then.calls,
                time_ms: (now.time_ms - then.time_ms).max(0.0),
                rows: now.rows.saturating_sub(then.rows),
                blocks: now.blocks.saturating_sub(then.blocks),
                wal_bytes: now.wal_bytes.saturating_sub(then.wal_bytes),
            };
            deltas.insert(*key, activity);
        }
    }
    Some(deltas)
}

/// A statement with its identity as captured workloads have it; None for one of pgassay's own.
fn named(user: u32, queryid: i64, text: &str) -> Option<ObservedStatement> {
    if text.contains("/* pgassay */") {
        return None;
    }
    // Constants of other statements stay in their texts, and may be secrets.
    let normalised = pgassay_sql::shape(text, &NoCatalog)
        .is_ok_and(|shape| shape.kind != StatementKind::Utility);
    let (id, sql) = match pgassay_sql::fingerprint(text) {
        Ok(fingerprint) if normalised => (format!("q{fingerprint}"), text.to_owned()),
        _ => {
            let letters = text.trim_start().chars().take_while(char::is_ascii_alphabetic);
            (format!("queryid:{queryid}"), letters.collect::<String>().to_ascii_uppercase())
        }
    };
    Some(ObservedStatement { user, queryid, id, sql })
}

/// The kind of a statement is asked for, not its relations.
struct NoCatalog;

impl Catalog for NoCatalog {
    fn columns(&self, _: Option<&str>, _: &str) -> Option<(RelationName, Vec<String>)> {
        None
    }
}

/// A failure of reading the statistics; 55000 says that the library was not loaded at the server's start.
fn unreadable(error: PostgresError) -> Failure {
    if error.sqlstate() == Some("55000") {
        return Failure::new(
            Exit::Missing,
            error.to_string(),
            "add pg_stat_statements to shared_preload_libraries and restart the server",
        );
    }
    postgres_failure(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_postgres::StatementCounters;

    fn at(reset_at: f64, entries: &[(i64, u64, f64, Option<f64>)]) -> Activity {
        Activity {
            statements: entries
                .iter()
                .map(|(queryid, calls, time_ms, since)| {
                    let counters = StatementCounters {
                        calls: *calls,
                        time_ms: *time_ms,
                        since: *since,
                        ..StatementCounters::default()
                    };
                    ((10, *queryid), counters)
                })
                .collect(),
            reset_at: Some(reset_at),
            ..Activity::default()
        }
    }

    #[test]
    fn a_bucket_holds_what_was_counted_within_it() {
        let before = at(1.0, &[(1, 10, 100.0, None), (2, 5, 5.0, None), (4, 50, 9.0, Some(1.0))]);
        let after = at(
            1.0,
            &[(1, 30, 140.0, None), (2, 5, 5.0, None), (3, 2, 1.0, None), (4, 60, 3.0, Some(2.0))],
        );
        let deltas = deltas(&before, &after).unwrap_or_default();
        let found = |queryid| deltas.get(&(10, queryid)).map(|one| (one.calls, one.time_ms));
        assert_eq!(found(1), Some((20, 40.0)));
        assert_eq!(found(2), None, "it did not run");
        assert_eq!(found(3), Some((2, 1.0)), "it is new");
        assert_eq!(found(4), Some((60, 3.0)), "it was evicted and came back");
    }

    #[test]
    fn a_bucket_with_a_reset_in_it_is_none() {
        assert_eq!(deltas(&at(1.0, &[(1, 10, 1.0, None)]), &at(2.0, &[(1, 3, 1.0, None)])), None);
    }

    #[test]
    fn texts_that_may_hold_secrets_are_not_kept() {
        let text = |sql: &str| named(10, 7, sql).map(|one| one.sql);
        assert_eq!(text("CREATE ROLE a PASSWORD 'hunter2'").as_deref(), Some("CREATE"));
        assert_eq!(
            text("SELECT a FROM t WHERE b = $1").as_deref(),
            Some("SELECT a FROM t WHERE b = $1")
        );
        assert_eq!(text("DO$$hunter2$$").as_deref(), Some("DO"));
        assert_eq!(text("SELECT 1 /* pgassay */"), None);
        let traced = "/* trace 7 */ SELECT a FROM t WHERE b = $1";
        assert_eq!(text(traced).as_deref(), Some(traced));
        assert_eq!(
            named(10, 7, traced).map(|one| one.id),
            named(11, 8, "SELECT a FROM t WHERE b = $1").map(|one| one.id)
        );
    }
}
