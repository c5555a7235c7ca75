//! PgBouncer's pool in a window, or before and after.

use crate::document::{Cell, Chart, Item, Table};
use crate::words;
use pgassay_model::measurement::PoolWindow;
use pgassay_model::units::Ms;

/// The pool as a chart and a table.
pub(crate) fn items(before: &PoolWindow, after: Option<&PoolWindow>) -> Vec<Item> {
    type Figure = fn(&PoolWindow) -> String;
    let figures: [(&str, Figure); 6] = [
        ("efficiency (1 − wait ÷ transaction time)", |pool| words::share(pool.efficiency())),
        ("transactions", |pool| pool.transactions.to_string()),
        ("waited for a server, in all", |pool| Ms(pool.wait_ms).to_string()),
        ("servers busy, on average", |pool| format!("{:.2}", pool.busy_servers())),
        ("servers open, at most", |pool| pool.max_servers.to_string()),
        ("clients waiting, at most", |pool| pool.max_waiting.to_string()),
    ];
    let rows = figures
        .iter()
        .map(|(name, figure)| {
            let mut row: Vec<Cell> = vec![(*name).into(), figure(before).into()];
            row.extend(after.map(|after| Cell::from(figure(after))));
            row
        })
        .collect();
    let columns = match after {
        Some(_) => vec!["pool", "before", "after"],
        None => vec!["pool", "value"],
    };
    vec![
        Item::Chart(Chart::Pool { before: *before, after: after.copied() }),
        Item::Table(Table { columns, text_columns: Vec::new(), rows }),
    ]
}
