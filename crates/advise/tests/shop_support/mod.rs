//! A web shop with a ledger: 43 statements that read and write, as a shop's day has them, with rows made by hashes.
#![allow(missing_docs, dead_code, reason = "tests")]

use pgassay_model::workload::WorkloadStatement;

const SCHEMA: &str = include_str!("schema.sql");
const ROWS: &str = include_str!("rows.sql");
/// Sets of values for each statement.
const SETS: u64 = 40;

/// DDL and rows for so many customers, and about 19 times as many rows in all.
pub fn sql(customers: u64) -> String {
    format!("{SCHEMA}{}", ROWS.replace("{{customers}}", &customers.to_string()))
}

/// Numbers spread over a range, the same every time (Weyl's sequence).
struct Spread {
    customers: u64,
    place: u64,
}

impl Spread {
    /// From 1 to a number, another one for each salt.
    fn number(&self, most: u64, salt: u64) -> u64 {
        let share = ((self.place * 7 + salt * 13 + 1) as f64 * 0.618_033_988_749_895).fract();
        1 + (share * most as f64) as u64
    }

    fn customer(&self) -> String {
        self.number(self.customers, 1).to_string()
    }

    fn product(&self, salt: u64) -> u64 {
        self.number(self.customers / 5, salt)
    }

    fn purchase(&self) -> String {
        self.number(self.customers * 3, 2).to_string()
    }

    fn account(&self) -> String {
        self.number((self.customers / 100).max(100), 3).to_string()
    }

    fn day(&self, year: u32, month: u32) -> String {
        format!("{year}-{month:02}-{:02} 00:00+00", self.number(28, 4))
    }
}

/// What the shop asks, and how often a second.
pub fn statements(customers: u64) -> Vec<WorkloadStatement> {
    let mut all: Vec<WorkloadStatement> = Vec::new();
    let mut add = |id: &str, weight: f64, sql: &str, values: &dyn Fn(&Spread) -> Vec<String>| {
        let set = |place: u64| -> Vec<Option<String>> {
            values(&Spread { customers, place }).into_iter().map(Some).collect()
        };
        let parameters: Vec<Vec<Option<String>>> = (0..SETS).map(set).collect();
        all.push(WorkloadStatement {
            id: id.into(),
            sql: sql.into(),
            weight,
            writes: !sql.starts_with("SELECT"),
            parameters: if parameters[0].is_empty() { Vec::new() } else { parameters },
            parameter_source: "given".into(),
            ..WorkloadStatement::default()
        });
    };
    let none = |_: &Spread| Vec::new();

    // Customers and their sessions.
    add(
        "customer_by_email",
        40.0,
        "SELECT id, name, preferences FROM customer WHERE lower(email) = lower($1)",
        &|s| {
            let number = s.number(customers, 5);
            vec![format!("USER{number}@mail{}.example", number % 7)]
        },
    );
    add("customer_by_id", 80.0, "SELECT name, email, city FROM customer WHERE id = $1", &|s| {
        vec![s.customer()]
    });
    add(
        "customers_by_name",
        2.0,
        "SELECT id, name, city FROM customer WHERE name LIKE $1 ORDER BY name LIMIT 20",
        &|s| vec![format!("A{:02x}%", s.number(255, 6))],
    );
    add(
        "customers_of_city",
        0.5,
        "SELECT id, name FROM customer WHERE city = $1 AND deleted_at IS NULL ORDER BY created_at DESC LIMIT 50",
        &|s| vec![format!("city {}", s.number(390, 7))],
    );
    add(
        "gold_customers",
        0.3,
        "SELECT id, email FROM customer WHERE preferences ->> 'tier' = 'gold'",
        &none,
    );
    add(
        "customers_to_purge",
        0.2,
        "SELECT id FROM customer WHERE deleted_at IS NOT NULL AND deleted_at < $1 ORDER BY deleted_at LIMIT 100",
        &|s| vec![s.day(2024, 1 + s.number(4, 8) as u32)],
    );
    add(
        "session_by_token",
        120.0,
        "SELECT id, customer_id FROM login_session WHERE token = $1 AND expires_at > '2025-01-01'",
        &|s| vec![token(s)],
    );
    add(
        "sessions_of_customer",
        3.0,
        "SELECT id, last_seen, requests FROM login_session WHERE customer_id = $1",
        &|s| vec![s.customer()],
    );
    add(
        "seen_last",
        0.5,
        "SELECT id, customer_id, last_seen FROM login_session ORDER BY last_seen DESC LIMIT 20",
        &none,
    );

    // The catalogue.
    add(
        "product_by_id",
        150.0,
        "SELECT title, price, stock, attributes FROM product WHERE id = $1",
        &|s| vec![s.product(9).to_string()],
    );
    add("product_by_sku", 25.0, "SELECT id, title, price FROM product WHERE sku = $1", &|s| {
        vec![format!("SKU-{:08x}", (s.product(10) * 2_654_435_761) & 0xffff_ffff)]
    });
    add(
        "products_of_category",
        20.0,
        "SELECT id, title, price FROM product WHERE category_id = $1 AND active ORDER BY price LIMIT 24",
        &|s| vec![s.number(60, 11).to_string()],
    );
    add(
        "products_with_attributes",
        4.0,
        "SELECT id, title, price FROM product WHERE attributes @> $1",
        &|s| {
            vec![format!(
                "{{\"colour\": \"colour {}\", \"material\": \"material {}\"}}",
                s.number(29, 12),
                s.number(30, 13)
            )]
        },
    );
    add(
        "products_to_reorder",
        0.02,
        "SELECT id, sku, stock FROM product WHERE stock < 3 AND active",
        &none,
    );
    add(
        "bestsellers",
        0.05,
        "SELECT id, title, sold FROM product ORDER BY sold DESC LIMIT 20",
        &none,
    );
    add(
        "products_of_cart",
        12.0,
        "SELECT id, title, price, stock FROM product WHERE id = ANY ($1)",
        &|s| vec![format!("{{{},{},{}}}", s.product(14), s.product(15), s.product(16))],
    );

    // Purchases.
    add(
        "open_purchases",
        10.0,
        "SELECT id, customer_id, placed_at FROM purchase WHERE status = 'open' ORDER BY placed_at LIMIT 50",
        &none,
    );
    add(
        "packed_purchases",
        4.0,
        "SELECT id, address FROM purchase WHERE status = 'packed' AND placed_at < $1 ORDER BY placed_at LIMIT 30",
        &|s| vec![s.day(2024, 12)],
    );
    add(
        "purchases_of_customer",
        30.0,
        "SELECT id, status, placed_at, total FROM purchase WHERE customer_id = $1 AND deleted_at IS NULL ORDER BY placed_at DESC LIMIT 20",
        &|s| vec![s.customer()],
    );
    add(
        "purchase_by_id",
        60.0,
        "SELECT customer_id, status, total, address FROM purchase WHERE id = $1",
        &|s| vec![s.purchase()],
    );
    add(
        "returned_by_month",
        0.1,
        "SELECT date_trunc('month', placed_at AT TIME ZONE 'UTC'), count(*), sum(total) FROM purchase WHERE status = 'returned' AND placed_at >= $1 GROUP BY 1",
        &|s| vec![s.day(2024, 6)],
    );
    add(
        "revenue_of_week",
        0.05,
        "SELECT count(*), sum(total) FROM purchase WHERE placed_at >= $1 AND placed_at < $1::timestamptz + interval '7 days' AND deleted_at IS NULL",
        &|s| vec![s.day(2024, 1 + s.number(11, 17) as u32)],
    );
    add(
        "items_of_purchase",
        50.0,
        "SELECT product_id, quantity, price FROM purchase_item WHERE purchase_id = $1",
        &|s| vec![s.purchase()],
    );
    add(
        "items_with_titles",
        8.0,
        "SELECT p.title, i.quantity, i.price FROM purchase_item i JOIN product p ON p.id = i.product_id WHERE i.purchase_id = $1 ORDER BY i.id",
        &|s| vec![s.purchase()],
    );
    add(
        "sold_of_product",
        1.0,
        "SELECT sum(quantity) FROM purchase_item WHERE product_id = $1",
        &|s| vec![s.product(18).to_string()],
    );
    add(
        "bought_also",
        0.5,
        "SELECT o.product_id, count(*) FROM purchase_item i JOIN purchase_item o ON o.purchase_id = i.purchase_id AND o.product_id <> i.product_id WHERE i.product_id = $1 GROUP BY o.product_id ORDER BY count(*) DESC LIMIT 5",
        &|s| vec![s.product(19).to_string()],
    );

    // Events and the ledger.
    add(
        "events_of_hour",
        1.0,
        "SELECT kind, count(*) FROM event WHERE at >= $1 AND at < $1::timestamptz + interval '1 hour' GROUP BY kind",
        &|s| vec![s.day(2024, 12)],
    );
    add(
        "events_of_customer",
        6.0,
        "SELECT at, kind, payload FROM event WHERE customer_id = $1 ORDER BY at DESC LIMIT 50",
        &|s| vec![s.customer()],
    );
    add("balance", 8.0, "SELECT sum(cents) FROM ledger_entry WHERE account_id = $1", &|s| {
        vec![s.account()]
    });
    add(
        "statement_of_month",
        2.0,
        "SELECT booked_at, cents, memo FROM ledger_entry WHERE account_id = $1 AND booked_at >= $2 AND booked_at < $2::timestamptz + interval '1 month' ORDER BY booked_at",
        &|s| vec![s.account(), s.day(2024, 1 + s.number(11, 20) as u32)],
    );

    // What is written.
    add(
        "register",
        0.4,
        "INSERT INTO customer (email, name, city, preferences, created_at) VALUES ($1, 'New Customer', 'city 7', '{\"language\": \"en\", \"tier\": \"plain\"}', '2025-01-02')",
        &|s| vec![format!("New{}@Mail1.example", s.number(1 << 40, 21))],
    );
    add(
        "log_in",
        6.0,
        "INSERT INTO login_session (token, customer_id, expires_at, last_seen) VALUES (md5($1) || md5($1 || 'x'), $2, '2025-02-02', '2025-01-02')",
        &|s| vec![s.number(1 << 40, 22).to_string(), s.customer()],
    );
    add(
        "touch_session",
        120.0,
        "UPDATE login_session SET last_seen = clock_timestamp(), requests = requests + 1 WHERE token = $1",
        &|s| vec![token(s)],
    );
    add(
        "buy",
        5.0,
        "INSERT INTO purchase (customer_id, status, placed_at, total, address) VALUES ($1, 'open', '2025-01-02', 70, 'street 7')",
        &|s| vec![s.customer()],
    );
    add(
        "add_item",
        15.0,
        "INSERT INTO purchase_item (purchase_id, product_id, quantity, price) VALUES ($1, $2, 2, 17)",
        &|s| vec![s.purchase(), s.product(23).to_string()],
    );
    add(
        "take_stock",
        15.0,
        "UPDATE product SET stock = stock - 1, sold = sold + 1 WHERE id = $1",
        &|s| vec![s.product(24).to_string()],
    );
    add(
        "set_status",
        8.0,
        "UPDATE purchase SET status = 'paid' WHERE id = $1 AND status = 'open'",
        &|s| vec![(customers * 3 - s.number(customers * 3 / 40, 25)).to_string()],
    );
    add(
        "set_preferences",
        1.0,
        "UPDATE customer SET preferences = preferences || '{\"language\": \"it\"}' WHERE id = $1",
        &|s| vec![s.customer()],
    );
    add(
        "close_account",
        0.1,
        "UPDATE customer SET deleted_at = '2025-01-02' WHERE id = $1 AND deleted_at IS NULL",
        &|s| vec![s.customer()],
    );
    add(
        "record_event",
        30.0,
        "INSERT INTO event (at, kind, customer_id, payload) VALUES ('2025-01-02', 'view', $1, '{\"page\": \"/page/7\", \"agent\": \"agent 7\"}')",
        &|s| vec![s.customer()],
    );
    add(
        "book",
        10.0,
        "INSERT INTO ledger_entry (account_id, booked_at, cents, memo) VALUES ($1, '2025-01-02', 1700, 'booking of today')",
        &|s| vec![s.account()],
    );
    add(
        "end_sessions",
        0.05,
        "DELETE FROM login_session WHERE id IN (SELECT id FROM login_session WHERE expires_at < $1 LIMIT 20)",
        &|s| vec![format!("2025-01-01 0{}:00+00", s.number(6, 26))],
    );
    add(
        "forget_events",
        0.01,
        "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < $1 LIMIT 20)",
        &|s| vec![format!("2024-12-01 0{}:00+00", s.number(6, 27))],
    );
    all
}

/// The token of a session, as `rows.sql` makes it of its number.
fn token(spread: &Spread) -> String {
    let number = spread.number(spread.customers * 3 / 2, 28);
    [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263]
        .iter()
        .map(|factor| format!("{:08x}", (number * factor) & 0xffff_ffff))
        .collect()
}
