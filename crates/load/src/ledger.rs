//! Where the time of a request goes: the client's own times and the server's counters made one sum.

use pgassay_model::measurement::Ledger;
use std::collections::BTreeMap;

/// What the client saw: mean milliseconds per request without error; they sum to the mean latency.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClientParts {
    /// Whether every request opened a connection of its own. Where connections are reused, `connect_ms`,
    /// `tls_ms` and `auth_ms` are 0: they were opened before the window.
    pub per_request: bool,
    /// Resolving the name and opening the socket.
    pub connect_ms: f64,
    /// From the request for TLS to the end of its handshake, or to the server's answer that it has none.
    pub tls_ms: f64,
    /// From the start-up message to the first ReadyForQuery; through PgBouncer with its wait for a server
    /// during log-in.
    pub auth_ms: f64,
    /// Open loop: from the intended start until a client was free to take the request up. None in a closed
    /// loop, where no request waits for a client.
    pub wait_ms: Option<f64>,
    /// Open loop: how late the request was sent then (timer and scheduler of the client's host).
    pub lag_ms: f64,
    /// The rest: from the first byte of the request to ReadyForQuery.
    pub request_ms: f64,
}

/// What server and pooler counted in the same window: mean milliseconds per request, None where not known,
/// each with the words that say where it comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerParts {
    /// Executing, planning left out.
    pub execute_ms: Option<f64>,
    /// Source of `execute_ms`.
    pub execute_source: String,
    /// Parsing, rewriting and planning.
    pub parse_plan_ms: Option<f64>,
    /// Source of `parse_plan_ms`.
    pub parse_plan_source: String,
    /// Waiting for a server connection in the pooler.
    pub pool_wait_ms: Option<f64>,
    /// Source of `pool_wait_ms`.
    pub pool_wait_source: String,
}

/// Composes the ledger of requests that took `total_mean_ms`: its parts, the source of each, and notes on what
/// could not be told apart. Known parts are never negative and sum to the total.
///
/// The client's times come first: they are of the very requests. The server's parts lie within the time of
/// the request itself, and what they leave is the network part. PgBouncer's wait needs care: its counter also
/// holds waits during log-in, which with a connection per request the client has already seen as `auth`. What
/// of the wait does not fit beside execution and planning can only have been there, so up to the length of
/// `auth` it is not counted again. (With reused connections all log-ins were before the window.) Where the
/// server's parts still exceed the request, they are of other requests too (warm-up, failed requests, other
/// sessions' calls of the same statements) and are scaled down to fit.
pub fn compose(
    client: &ClientParts,
    server: &ServerParts,
    total_mean_ms: f64,
) -> (Ledger, BTreeMap<String, String>, Vec<String>) {
    let mut notes = Vec::new();
    let total = sane(total_mean_ms);
    let mut left = total;
    // Never more than what is left, so that rounding can't make the sum exceed the total.
    let mut part = |value: f64| {
        let value = sane(value).min(left);
        left -= value;
        value
    };
    let connect = part(client.connect_ms);
    let tls = part(client.tls_ms);
    let auth = part(client.auth_ms);
    let wait = client.wait_ms.map(&mut part);
    let request = left;

    let mut fitted = Fitted {
        execute: known(server.execute_ms, "execution", &mut notes),
        parse_plan: known(server.parse_plan_ms, "parsing and planning", &mut notes),
        pool_wait: known(server.pool_wait_ms, "the pooler's wait", &mut notes),
    };
    if client.per_request {
        fitted.leave_login_waits(request, auth, &mut notes);
    }
    fitted.scale(request, &mut notes);
    let network = (request - fitted.sum()).max(0.0);

    let pool_wait = match (wait, fitted.pool_wait) {
        (None, pooler) => pooler,
        (Some(own), pooler) => Some(own + pooler.unwrap_or(0.0)),
    };
    explain_unknown(&fitted, wait, &mut notes);
    let ledger = Ledger {
        connect: Some(connect),
        tls: Some(tls),
        auth: Some(auth),
        pool_wait,
        parse_plan: fitted.parse_plan,
        execute: fitted.execute,
        network: Some(network),
        total,
    };
    (ledger, sources(client, server, &ledger), notes)
}

/// The server's parts while they are made to fit.
struct Fitted {
    execute: Option<f64>,
    parse_plan: Option<f64>,
    pool_wait: Option<f64>,
}

impl Fitted {
    fn sum(&self) -> f64 {
        [self.execute, self.parse_plan, self.pool_wait].into_iter().flatten().sum()
    }

    /// Takes off the pooler's wait what can only have been during log-in.
    fn leave_login_waits(&mut self, request: f64, auth: f64, notes: &mut Vec<String>) {
        let Some(wait) = self.pool_wait.filter(|wait| *wait > 0.0) else { return };
        let within_login = (self.sum() - request).clamp(0.0, auth.min(wait));
        self.pool_wait = Some(wait - within_login);
        notes.push(if within_login > 0.0 {
            format!(
                "PgBouncer's wait includes waits during log-in: {within_login:.3} ms of it do not fit into the \
                 request and are within authentication"
            )
        } else {
            "PgBouncer's wait includes waits during log-in, which can't be told apart: pool wait may hold some \
             of what belongs to authentication"
                .into()
        });
    }

    /// Scales the parts down where they exceed the request.
    fn scale(&mut self, request: f64, notes: &mut Vec<String>) {
        let sum = self.sum();
        if sum <= request || sum <= 0.0 {
            return;
        }
        let factor = request / sum;
        for part in [&mut self.execute, &mut self.parse_plan, &mut self.pool_wait] {
            *part = part.map(|value| value * factor);
        }
        notes.push(format!(
            "server and pooler counted {sum:.3} ms per request, the client waited {request:.3} ms: their parts are \
             scaled by {factor:.2}, and nothing is left for the network (they also count warm-up, failed \
             requests and other sessions)"
        ));
    }
}

fn sane(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

fn known(value: Option<f64>, what: &str, notes: &mut Vec<String>) -> Option<f64> {
    let value = value?;
    if !value.is_finite() {
        notes.push(format!(
            "{what} was counted as {value} ms per request, which can't be: left out"
        ));
        return None;
    }
    Some(value.max(0.0))
}

fn explain_unknown(fitted: &Fitted, wait: Option<f64>, notes: &mut Vec<String>) {
    let mut unknown = Vec::new();
    if fitted.pool_wait.is_none() && wait.is_none() {
        unknown.push("pool_wait");
    }
    if fitted.parse_plan.is_none() {
        unknown.push("parse_plan");
    }
    if fitted.execute.is_none() {
        unknown.push("execute");
    }
    if !unknown.is_empty() {
        notes.push(format!(
            "{} could not be told apart, and so {} within network",
            unknown.join(", "),
            if unknown.len() == 1 { "is" } else { "are" }
        ));
    }
    if fitted.pool_wait.is_none() && wait.is_some() {
        notes.push(
            "pool_wait is the wait for a free client connection alone; a pooler's own wait, if there is a \
             pooler, is within network"
                .into(),
        );
    }
}

fn sources(
    client: &ClientParts,
    server: &ServerParts,
    ledger: &Ledger,
) -> BTreeMap<String, String> {
    let opened = if client.per_request {
        "measured by the client on every request"
    } else {
        "nothing per request: connections were opened before the window"
    };
    let tls = if client.per_request && client.tls_ms > 0.0 {
        format!("{opened} (asking for TLS, and its handshake where the server has it)")
    } else {
        opened.to_owned()
    };
    let mut pool_wait = Vec::new();
    if client.wait_ms.is_some() {
        pool_wait.push("measured by the client from the intended start to a free connection");
    }
    if server.pool_wait_ms.is_some() && !server.pool_wait_source.is_empty() {
        pool_wait.push(&server.pool_wait_source);
    }
    let words = [
        ("connect", opened.to_owned()),
        ("tls", tls),
        ("auth", opened.to_owned()),
        ("pool_wait", pool_wait.join(", and ")),
        ("parse_plan", server.parse_plan_source.clone()),
        ("execute", server.execute_source.clone()),
        (
            "network",
            "the rest of the measured latency: network, pooler, commit, the client's and the kernel's work".into(),
        ),
    ];
    let known: Vec<&str> =
        ledger.parts().iter().filter_map(|(name, value)| value.map(|_| *name)).collect();
    words
        .into_iter()
        .filter(|(name, words)| known.contains(name) && !words.is_empty())
        .map(|(name, words)| (name.to_owned(), words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(ledger: &Ledger) -> f64 {
        ledger.parts().iter().filter_map(|(_, value)| *value).sum()
    }

    fn server(execute: f64, plan: f64, wait: f64) -> ServerParts {
        ServerParts {
            execute_ms: Some(execute),
            parse_plan_ms: Some(plan),
            pool_wait_ms: Some(wait),
            ..ServerParts::default()
        }
    }

    #[test]
    fn what_server_and_client_do_not_explain_is_network() {
        let client = ClientParts { request_ms: 10.0, ..ClientParts::default() };
        let (ledger, _, notes) = compose(&client, &server(4.0, 1.0, 2.0), 10.0);
        assert_eq!(ledger.network, Some(3.0));
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn an_unknown_part_is_null_and_named() {
        let client = ClientParts { request_ms: 10.0, ..ClientParts::default() };
        let (ledger, sources, notes) = compose(&client, &ServerParts::default(), 10.0);
        assert_eq!((ledger.execute, ledger.parse_plan, ledger.pool_wait), (None, None, None));
        assert_eq!(ledger.network, Some(10.0));
        assert_eq!(
            notes,
            ["pool_wait, parse_plan, execute could not be told apart, and so are within network"]
        );
        assert!(!sources.contains_key("execute"));
    }

    #[test]
    fn a_wait_during_log_in_is_not_counted_twice() {
        let client = ClientParts {
            per_request: true,
            auth_ms: 80.0,
            request_ms: 2.0,
            ..ClientParts::default()
        };
        let (ledger, _, notes) = compose(&client, &server(1.0, 0.2, 50.0), 82.0);
        assert_eq!(ledger.auth, Some(80.0));
        assert!(ledger.pool_wait.is_some_and(|wait| (wait - 0.8).abs() < 1e-9), "{ledger:?}");
        assert_eq!(ledger.execute, Some(1.0));
        assert!(notes.iter().any(|note| note.contains("within authentication")), "{notes:?}");
    }

    #[test]
    fn parts_that_exceed_the_request_are_scaled_and_it_is_said() {
        let client = ClientParts { request_ms: 5.0, ..ClientParts::default() };
        let (ledger, _, notes) = compose(&client, &server(8.0, 2.0, 0.0), 5.0);
        assert_eq!((ledger.execute, ledger.parse_plan), (Some(4.0), Some(1.0)));
        assert_eq!(ledger.network, Some(0.0));
        assert!(notes.iter().any(|note| note.contains("scaled by 0.50")), "{notes:?}");
    }

    fn any_ms() -> impl Strategy<Value = f64> {
        prop_oneof![0.0..200.0f64, Just(0.0), Just(f64::NAN), Just(f64::INFINITY), -5.0..0.0f64]
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_total_and_none_is_negative(
            per_request: bool,
            client in prop::array::uniform5(any_ms()),
            open: bool,
            server in prop::array::uniform3(prop::option::of(any_ms())),
            total in any_ms(),
        ) {
            let [connect_ms, tls_ms, auth_ms, wait, request_ms] = client;
            let client = ClientParts {
                per_request,
                connect_ms,
                tls_ms,
                auth_ms,
                wait_ms: open.then_some(wait),
                lag_ms: 0.0,
                request_ms,
            };
            let [execute_ms, parse_plan_ms, pool_wait_ms] = server;
            let server =
                ServerParts { execute_ms, parse_plan_ms, pool_wait_ms, ..ServerParts::default() };
            let (ledger, _, notes) = compose(&client, &server, total);
            prop_assert!((sum(&ledger) - ledger.total).abs() <= 1e-9 * ledger.total.max(1.0));
            for (name, value) in ledger.parts() {
                prop_assert!(value.is_none_or(|value| value.is_finite() && value >= 0.0), "{}", name);
            }
            prop_assert!(ledger.execute.is_some() || notes.iter().any(|note| note.contains("execut")));
        }
    }
}
