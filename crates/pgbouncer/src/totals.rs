//! What happened between two readings of PgBouncer's counters.

use pgassay_model::measurement::PoolWindow;
use pgassay_model::pooler::PoolerTotals;

/// The difference of two readings; a counter that fell (PgBouncer restarted) counts from zero.
pub fn window(
    before: &PoolerTotals,
    after: &PoolerTotals,
    duration_s: f64,
    max_waiting: u64,
    max_servers: u64,
) -> PoolWindow {
    let restarted = after.transactions < before.transactions
        || after.queries < before.queries
        || after.xact_us < before.xact_us;
    let base = if restarted { PoolerTotals::default() } else { *before };
    let milliseconds = |later: u64, earlier: u64| later.saturating_sub(earlier) as f64 / 1000.0;
    PoolWindow {
        duration_s,
        transactions: after.transactions.saturating_sub(base.transactions),
        wait_ms: milliseconds(after.wait_us, base.wait_us),
        xact_ms: milliseconds(after.xact_us, base.xact_us),
        query_ms: milliseconds(after.query_us, base.query_us),
        max_waiting,
        max_servers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: PoolerTotals = PoolerTotals {
        transactions: 10,
        queries: 20,
        xact_us: 5_000,
        query_us: 4_000,
        wait_us: 1_000,
    };

    #[test]
    fn a_window_is_the_difference_in_milliseconds() {
        let after = PoolerTotals {
            transactions: 15,
            queries: 30,
            xact_us: 9_000,
            query_us: 7_000,
            wait_us: 3_000,
        };
        let window = window(&BEFORE, &after, 2.0, 7, 3);
        assert_eq!(window.transactions, 5);
        assert_eq!((window.wait_ms, window.xact_ms, window.query_ms), (2.0, 4.0, 3.0));
        assert_eq!((window.max_waiting, window.max_servers), (7, 3));
        assert_eq!(window.efficiency(), 0.5);
    }

    #[test]
    fn a_restart_of_pgbouncer_counts_from_zero() {
        let after = PoolerTotals {
            transactions: 2,
            queries: 30,
            xact_us: 900,
            query_us: 700,
            wait_us: 100,
        };
        let window = window(&BEFORE, &after, 2.0, 0, 0);
        assert_eq!(window.transactions, 2);
        assert_eq!((window.wait_ms, window.xact_ms), (0.1, 0.9));
    }
}
