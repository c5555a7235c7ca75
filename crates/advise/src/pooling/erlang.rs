//! Erlang C: how many servers keep waiting rare.
//!
//! M/M/c: requests arrive at random, `busy` servers are at work on average (the offered load in erlangs, by
//! Little's law), and a request waits when all of `servers` are taken.

/// More than any pool has; a search above it ends.
const MOST_SERVERS: u64 = 100_000;

/// Probability that a request waits (Erlang C). 1 where the servers cannot keep up.
///
/// From Erlang B by its recursion `B(0) = 1, B(n) = a·B(n−1) ÷ (n + a·B(n−1))`, which no factorial
/// overflows, then `C = B ÷ (1 − ρ·(1 − B))` with ρ = a ÷ c (Kleinrock, Queueing Systems I, 3.5 and 3.6).
pub fn waiting_probability(servers: u64, busy: f64) -> f64 {
    if busy <= 0.0 {
        return 0.0;
    }
    if servers == 0 || busy >= servers as f64 {
        return 1.0;
    }
    let blocked = (1..=servers).fold(1.0, |blocked, n| {
        let offered = busy * blocked;
        offered / (n as f64 + offered)
    });
    let utilisation = busy / servers as f64;
    blocked / (1.0 - utilisation * (1.0 - blocked))
}

/// The fewest servers with which at most a share `waiting` of the requests waits.
pub fn servers_for(busy: f64, waiting: f64) -> u64 {
    if !busy.is_finite() || busy <= 0.0 {
        return 1;
    }
    let first = (busy.floor() as u64).saturating_add(1);
    (first..MOST_SERVERS)
        .find(|servers| waiting_probability(*servers, busy) <= waiting)
        .unwrap_or(MOST_SERVERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_those_of_the_table_in_the_design_of_pooling() {
        for (busy, servers) in
            [(5.0, [8, 10, 12]), (10.0, [14, 17, 19]), (20.0, [26, 29, 32]), (50.0, [58, 64, 68])]
        {
            let found = [0.20, 0.05, 0.01].map(|waiting| servers_for(busy, waiting));
            assert_eq!(found, servers, "a = {busy}");
        }
    }

    #[test]
    fn one_server_waits_with_its_utilisation() {
        assert!((waiting_probability(1, 0.4) - 0.4).abs() < 1e-12);
        assert_eq!(waiting_probability(4, 4.0), 1.0);
        assert_eq!(waiting_probability(4, 0.0), 0.0);
    }

    #[test]
    fn no_load_or_no_number_needs_one_server() {
        assert_eq!(servers_for(0.0, 0.05), 1);
        assert_eq!(servers_for(f64::NAN, 0.05), 1);
    }
}
