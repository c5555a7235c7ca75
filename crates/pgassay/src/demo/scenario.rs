//! The demonstration's scenarios: what is in the database, what is asked of it, and how the pooler stands.

use pgassay_model::measurement::Connect;

/// One scenario; its files lie in `crates/pgassay/scenarios`.
pub struct Scenario {
    /// As on the command line.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// SQL that makes and fills the relations, `{{name}}` for numbers of rows.
    schema: &'static [&'static str],
    /// Rows at scale 1, by their name in the SQL.
    rows: &'static [(&'static str, u64)],
    /// File names and texts of the workload.
    pub workload: &'static [(&'static str, &'static str)],
    /// When the application opens connections.
    pub connect: Connect,
    /// The pooler's userlist holds the password in plain text rather than as the server's SCRAM secret.
    pub plain_userlist: bool,
}

macro_rules! workload {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$((concat!($name, ".sql"), include_str!(concat!("../../scenarios/", $folder, "/workload/", $name, ".sql")))),+]
    };
}

const OAUTH_SCHEMA: &str = include_str!("../../scenarios/oauth/schema.sql");
const OAUTH_INDEXES: &str = include_str!("../../scenarios/oauth/indexes.sql");
const OAUTH_ROWS: &[(&str, u64)] = &[("users", 500_000)];
const OAUTH_WORKLOAD: &[(&str, &str)] = workload!("oauth":
    "login_by_username", "login_by_email", "token_of_user", "token_refresh", "token_insert",
    "expired_tokens_cleanup", "active_users_newest_first");

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "oauth",
        summary: "users and their OAuth tokens with primary keys only, behind PgBouncer",
        schema: &[OAUTH_SCHEMA],
        rows: OAUTH_ROWS,
        workload: OAUTH_WORKLOAD,
        connect: Connect::Reuse,
        plain_userlist: false,
    },
    Scenario {
        name: "reconnect",
        summary: "the indexes are there, but the application opens a connection for every request",
        schema: &[OAUTH_SCHEMA, OAUTH_INDEXES],
        rows: OAUTH_ROWS,
        workload: OAUTH_WORKLOAD,
        connect: Connect::PerRequest,
        plain_userlist: true,
    },
    Scenario {
        name: "healthy",
        summary: "everything is as it should be",
        schema: &[OAUTH_SCHEMA, OAUTH_INDEXES],
        rows: OAUTH_ROWS,
        workload: OAUTH_WORKLOAD,
        connect: Connect::Reuse,
        plain_userlist: false,
    },
    Scenario {
        name: "regression",
        summary: "an index that the planner likes and that makes the statement slower",
        schema: &[include_str!("../../scenarios/regression/schema.sql")],
        rows: &[("articles", 300_000)],
        workload: workload!("regression": "article", "articles_by_tag"),
        connect: Connect::Reuse,
        plain_userlist: false,
    },
    Scenario {
        name: "write-heavy",
        summary: "a relation that is written all the time and read now and then",
        schema: &[include_str!("../../scenarios/write-heavy/schema.sql")],
        rows: &[("counters", 20_000)],
        workload: workload!("write-heavy": "count", "recently_counted"),
        connect: Connect::Reuse,
        plain_userlist: false,
    },
];

/// All scenarios, the default first.
pub fn all() -> &'static [Scenario] {
    SCENARIOS
}

/// The scenario of that name.
pub fn by_name(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// SQL that makes and fills the relations, at least 100 rows each.
    pub fn schema(&self, scale: f64) -> String {
        self.rows.iter().fold(self.schema.concat(), |sql, (name, rows)| {
            let rows = ((*rows as f64 * scale).round() as u64).max(100);
            sql.replace(&format!("{{{{{name}}}}}"), &rows.to_string())
        })
    }

    /// Settings beyond initdb's: what is needed to see statements, nothing that makes anything faster.
    pub fn server_settings(&self) -> Vec<(String, String)> {
        vec![("shared_preload_libraries".into(), "'pg_stat_statements'".into())]
    }

    /// Settings beyond PgBouncer's own defaults, as a web application's team left them.
    pub fn pgbouncer_settings(&self) -> Vec<(String, String)> {
        [
            ("default_pool_size", "60"),
            ("max_client_conn", "500"),
            ("reserve_pool_size", "20"),
            ("query_timeout", "90"),
            ("query_wait_timeout", "20"),
            ("server_idle_timeout", "300"),
            ("listen_backlog", "8192"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_filled_in_at_every_scale() {
        for scenario in all() {
            for scale in [0.0001, 1.0, 2.5] {
                let sql = scenario.schema(scale);
                assert!(!sql.contains("{{") && !sql.contains("}}"), "{}", scenario.name);
            }
        }
        assert!(by_name("oauth").is_some_and(|oauth| oauth.schema(1.0).contains("(1, 500000)")));
    }
}
