//! Writes statements by chance, the same ones for a seed: joins along the links of the relations, restrictions by
//! values that their columns have, groups and sorts, in the forms that reports take.

use super::relations::{
    DIMENSIONS, Dimension, Domain, FACTS, Fact, SHOP_RETURN, SHOP_SALE, STOCK, TRADE_SALE,
    WEB_RETURN, WEB_SALE,
};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below((most - least + 1) as usize) as u64
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// So many statements.
pub fn statements(count: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    (0..count).map(|_| statement(&mut random)).collect()
}

fn statement(random: &mut Random) -> String {
    match random.below(20) {
        0..5 => totals(random),
        5..7 => year_against_year(random),
        7..9 => channels(random),
        9..11 => ranked(random),
        11..13 => clients_who(random),
        13..15 => returned(random),
        15 => above_average(random),
        16 => details(random),
        17 => stock_before_and_after(random),
        18 => articles_like(random),
        _ => of_dimensions(random),
    }
}

/// A relation of facts joined with dimensions.
struct Star {
    from: Vec<String>,
    conditions: Vec<String>,
    /// Columns to group by, of the dimensions.
    groups: Vec<String>,
    /// Columns of the facts to sum.
    measures: Vec<String>,
}

impl Star {
    /// Joins `dimensions` of them, and mostly the calendar, under the alias `f` and others that begin with `prefix`.
    fn new(random: &mut Random, fact: &Fact, dimensions: usize, prefix: &str) -> Star {
        let mut star = Star {
            from: vec![format!("{} f", fact.name)],
            conditions: Vec::new(),
            groups: Vec::new(),
            measures: fact.measures.iter().map(|measure| format!("f.{measure}")).collect(),
        };
        let mut open: Vec<(String, &str, &str)> =
            fact.links.iter().map(|(column, to)| ("f".to_owned(), *column, *to)).collect();
        for number in 0..dimensions {
            if open.is_empty() {
                break;
            }
            let (from, column, name) = open.swap_remove(random.below(open.len()));
            let Some(dimension) = DIMENSIONS.iter().find(|known| known.name == name) else {
                continue;
            };
            let alias = format!("{prefix}{number}");
            star.from.push(format!("{name} {alias}"));
            star.conditions.push(format!("{from}.{column} = {alias}.id"));
            open.extend(dimension.links.iter().map(|(column, to)| (alias.clone(), *column, *to)));
            if random.chance(65) {
                star.conditions.push(condition(random, dimension, &alias));
            }
            let grouped = dimension.attributes.iter().filter(|attribute| attribute.2);
            let grouped: Vec<String> =
                grouped.map(|attribute| format!("{alias}.{}", attribute.0)).collect();
            if !grouped.is_empty() && star.groups.len() < 3 && random.chance(60) {
                star.groups.push(random.one(&grouped).clone());
            }
        }
        if star.groups.is_empty() {
            star.groups.push(format!("f.{}", random.one(fact.links).0));
        }
        star
    }

    /// Restricts the days, through the calendar or directly.
    fn within_days(&mut self, random: &mut Random) {
        if random.chance(80) {
            self.from.push("calendar c".into());
            self.conditions.push("f.day_id = c.id".into());
            self.conditions.push(days(random));
        } else {
            let first = random.between(1, 1700);
            let length = random.between(5, 120);
            self.conditions.push(format!("f.day_id BETWEEN {first} AND {}", first + length));
        }
    }

    fn clauses(&self) -> String {
        format!("FROM {} WHERE {}", self.from.join(", "), self.conditions.join(" AND "))
    }

    fn measure(&self, random: &mut Random) -> String {
        random.one(&self.measures).clone()
    }
}

/// A restriction of a calendar under the alias `c`.
fn days(random: &mut Random) -> String {
    let year = random.between(2020, 2024);
    match random.below(6) {
        0 => format!("c.year = {year}"),
        1 => format!("c.year = {year} AND c.quarter = {}", random.between(1, 4)),
        2 | 3 => format!("c.year = {year} AND c.month = {}", random.between(1, 12)),
        4 => {
            let month = random.between(1, 11);
            format!(
                "c.day BETWEEN date '{year}-{month:02}-01' AND date '{year}-{month:02}-01' + {}",
                random.between(7, 90)
            )
        }
        _ => {
            let week = random.between(1, 250);
            format!("c.week BETWEEN {week} AND {}", week + random.between(1, 12))
        }
    }
}

/// A restriction of a dimension.
fn condition(random: &mut Random, dimension: &Dimension, alias: &str) -> String {
    let attribute = random.one(dimension.attributes);
    let column = format!("{alias}.{}", attribute.0);
    match &attribute.1 {
        Domain::Words(word, count) => {
            if random.chance(50) {
                return format!("{column} = '{word} {}'", random.between(1, *count));
            }
            let some: Vec<String> = (0..random.between(2, 6))
                .map(|_| format!("'{word} {}'", random.between(1, *count)))
                .collect();
            format!("{column} IN ({})", some.join(", "))
        }
        Domain::List(values) => format!("{column} = '{}'", random.one(values)),
        Domain::Numbers(least, most) => {
            let first = random.between(*least, *most);
            if most - least < 30 && random.chance(50) {
                return format!("{column} = {first}");
            }
            let width = (most - least) / [4, 10, 30][random.below(3)];
            format!("{column} BETWEEN {first} AND {}", first + width.max(1))
        }
        Domain::Flag => column,
        Domain::Days(first, last) => {
            let year = random.between(*first, *last);
            format!("{column} >= date '{year}-{:02}-01'", random.between(1, 12))
        }
    }
}

fn totals(random: &mut Random) -> String {
    let fact = *random.one(FACTS);
    let dimensions = random.between(1, 4) as usize;
    let mut star = Star::new(random, fact, dimensions, "d");
    star.within_days(random);
    let measure = star.measure(random);
    let other = star.measure(random);
    let groups = star.groups.join(", ");
    let having = if random.chance(25) { " HAVING count(*) > 10" } else { "" };
    format!(
        "SELECT {groups}, count(*), sum({measure}) AS total, avg({other}) {} GROUP BY {groups}{having} ORDER BY total DESC LIMIT 100",
        star.clauses()
    )
}

fn year_against_year(random: &mut Random) -> String {
    let fact = *random.one(&[&SHOP_SALE, &WEB_SALE, &TRADE_SALE]);
    let dimensions = random.between(1, 3) as usize;
    let star = Star::new(random, fact, dimensions, "d");
    let year = random.between(2021, 2024);
    let measure = star.measure(random);
    let group = star.groups[0].clone();
    format!(
        "WITH by_year AS (SELECT {group} AS what, c.year, sum({measure}) AS total FROM {}, calendar c WHERE {} AND f.day_id = c.id AND c.year IN ({}, {year}) GROUP BY {group}, c.year) \
         SELECT n.what, o.total AS before, n.total AS after FROM by_year n JOIN by_year o ON o.what = n.what WHERE n.year = {year} AND o.year = {} AND n.total > o.total * 1.1 ORDER BY n.total - o.total DESC LIMIT 50",
        star.from.join(", "),
        star.conditions.join(" AND "),
        year - 1,
        year - 1
    )
}

fn channels(random: &mut Random) -> String {
    let (year, month) = (random.between(2020, 2024), random.between(1, 12));
    let article = DIMENSIONS.iter().find(|known| known.name == "article");
    let category = DIMENSIONS.iter().find(|known| known.name == "category");
    let (Some(article), Some(category)) = (article, category) else { return String::new() };
    let restricted = if random.chance(50) {
        condition(random, category, "k")
    } else {
        condition(random, article, "a")
    };
    let what = *random.one(&["k.name", "k.department", "a.colour", "a.brand_id"]);
    let part = |(channel, fact): &(&str, &str)| {
        format!(
            "SELECT '{channel}' AS channel, {what} AS what, sum(f.paid) AS paid, sum(f.profit) AS profit FROM {fact} f, calendar c, article a, category k WHERE f.day_id = c.id AND c.year = {year} AND c.month = {month} AND f.article_id = a.id AND a.category_id = k.id AND {restricted} GROUP BY {what}"
        )
    };
    let parts: Vec<String> = [("shop", "shop_sale"), ("web", "web_sale"), ("trade", "trade_sale")]
        .iter()
        .map(part)
        .collect();
    format!(
        "SELECT channel, what, sum(paid), sum(profit) FROM ({}) AS every GROUP BY ROLLUP (channel, what) ORDER BY channel, what LIMIT 100",
        parts.join(" UNION ALL ")
    )
}

fn ranked(random: &mut Random) -> String {
    let fact = *random.one(FACTS);
    let dimensions = random.between(2, 4) as usize;
    let mut star = Star::new(random, fact, dimensions, "d");
    star.within_days(random);
    let measure = star.measure(random);
    let group = star.groups.first().cloned().unwrap_or_default();
    let within = star.groups.get(1).cloned().unwrap_or_else(|| format!("f.{}", fact.links[0].0));
    format!(
        "SELECT * FROM (SELECT {within} AS within, {group} AS what, sum({measure}) AS total, rank() OVER (PARTITION BY {within} ORDER BY sum({measure}) DESC) AS place {} GROUP BY {within}, {group}) AS r WHERE place <= {} ORDER BY within, place LIMIT 200",
        star.clauses(),
        random.between(3, 10)
    )
}

fn clients_who(random: &mut Random) -> String {
    let year = random.between(2020, 2024);
    let (first, length) = (random.between(1, 1600), random.between(10, 90));
    let household = DIMENSIONS.iter().find(|known| known.name == "household");
    let town = DIMENSIONS.iter().find(|known| known.name == "town");
    let (Some(household), Some(town)) = (household, town) else { return String::new() };
    let (household, town) = (condition(random, household, "h"), condition(random, town, "t"));
    let not = if random.chance(60) { "NOT " } else { "" };
    format!(
        "SELECT h.income_band, count(*), avg(k.born) FROM client k, household h, town t WHERE k.household_id = h.id AND k.town_id = t.id AND {household} AND {town} \
         AND EXISTS (SELECT 1 FROM shop_sale s WHERE s.client_id = k.id AND s.day_id BETWEEN {first} AND {}) \
         AND {not}EXISTS (SELECT 1 FROM web_sale w, calendar c WHERE w.client_id = k.id AND w.day_id = c.id AND c.year = {year}) GROUP BY h.income_band ORDER BY h.income_band",
        first + length
    )
}

fn returned(random: &mut Random) -> String {
    let (sale, back) = *random.one(&[(&SHOP_SALE, &SHOP_RETURN), (&WEB_SALE, &WEB_RETURN)]);
    let dimensions = random.between(1, 3) as usize;
    let star = Star::new(random, back, dimensions, "d");
    let groups = star.groups.join(", ");
    format!(
        "SELECT {groups}, count(*), sum(s.paid), sum(f.refund) FROM {}, {} s, calendar c WHERE {} AND s.ticket = f.ticket AND s.line = f.line AND f.day_id = c.id AND {} GROUP BY {groups} ORDER BY sum(f.refund) DESC LIMIT 100",
        star.from.join(", "),
        sale.name,
        star.conditions.join(" AND "),
        days(random)
    )
}

fn above_average(random: &mut Random) -> String {
    let fact = *random.one(&[&SHOP_RETURN, &WEB_RETURN, &TRADE_SALE]);
    let measure = if fact.name == "trade_sale" { "paid" } else { "refund" };
    let key = random.one(fact.links).0;
    format!(
        "WITH sums AS (SELECT f.{key} AS what, f.article_id, sum(f.{measure}) AS total FROM {} f, calendar c WHERE f.day_id = c.id AND {} GROUP BY f.{key}, f.article_id) \
         SELECT a.code, s.what, s.total FROM sums s JOIN article a ON a.id = s.article_id WHERE s.total > (SELECT 2 * avg(total) FROM sums) AND a.size = '{}' ORDER BY s.total DESC LIMIT 100",
        fact.name,
        days(random),
        random.one(&["S", "M", "L", "none"])
    )
}

fn details(random: &mut Random) -> String {
    let fact = *random.one(FACTS);
    let brand = random.between(1, 400);
    match random.below(3) {
        0 => {
            let some: Vec<String> =
                (0..random.between(1, 8)).map(|_| random.between(1, 18_000).to_string()).collect();
            format!(
                "SELECT f.*, c.day FROM {} f JOIN calendar c ON c.id = f.day_id WHERE f.article_id IN ({}) ORDER BY c.day DESC LIMIT 100",
                fact.name,
                some.join(", ")
            )
        }
        1 => format!(
            "SELECT k.name, s.day_id, s.paid FROM client k JOIN {} s ON s.client_id = k.id WHERE k.town_id = {} AND k.born BETWEEN {} AND 1990 ORDER BY s.paid DESC LIMIT 100",
            random.one(&["shop_sale", "web_sale"]),
            random.between(100, 2000),
            random.between(1930, 1989)
        ),
        _ => format!(
            "SELECT a.code, c.month, sum(f.{}) FROM {} f JOIN article a ON a.id = f.article_id JOIN calendar c ON c.id = f.day_id WHERE a.brand_id = {brand} AND c.year = {} GROUP BY a.code, c.month ORDER BY a.code, c.month",
            fact.measures[0],
            fact.name,
            random.between(2020, 2024)
        ),
    }
}

fn stock_before_and_after(random: &mut Random) -> String {
    let day = 31 + 30 * random.between(1, 55);
    let article = DIMENSIONS.iter().find(|known| known.name == "article");
    let restricted = article.map_or(String::new(), |article| condition(random, article, "a"));
    format!(
        "SELECT d.name, a.code, sum(CASE WHEN f.day_id < {day} THEN f.on_hand ELSE 0 END) AS before, sum(CASE WHEN f.day_id >= {day} THEN f.on_hand ELSE 0 END) AS after FROM {} f, depot d, article a WHERE f.depot_id = d.id AND f.article_id = a.id AND {restricted} AND f.day_id BETWEEN {} AND {} GROUP BY d.name, a.code ORDER BY d.name, a.code LIMIT 100",
        STOCK.name,
        day - 60,
        day + 60
    )
}

fn articles_like(random: &mut Random) -> String {
    let brand = DIMENSIONS.iter().find(|known| known.name == "brand");
    let restricted = brand.map_or(String::new(), |brand| condition(random, brand, "b"));
    let fact = *random.one(FACTS);
    format!(
        "SELECT f.article_id, sum(f.{}) AS total FROM {} f, calendar c WHERE f.day_id = c.id AND {} AND f.article_id IN (SELECT a.id FROM article a JOIN brand b ON b.id = a.brand_id WHERE {restricted}) GROUP BY f.article_id ORDER BY total DESC LIMIT 50",
        fact.measures[0],
        fact.name,
        days(random)
    )
}

fn of_dimensions(random: &mut Random) -> String {
    if random.chance(50) {
        let colour = random.between(1, 30);
        format!(
            "SELECT a.code, a.price, b.name FROM article a JOIN brand b ON b.id = a.brand_id WHERE a.colour = 'colour {colour}' AND a.price BETWEEN {0} AND {0} + 20 ORDER BY a.price, a.code LIMIT 100",
            random.between(5, 300)
        )
    } else {
        format!(
            "SELECT k.name, k.since, t.name FROM client k JOIN town t ON t.id = k.town_id JOIN household h ON h.id = k.household_id WHERE t.region_id = {} AND h.income_band = {} AND k.language = '{}' ORDER BY k.since DESC LIMIT 100",
            random.between(1, 40),
            random.between(1, 20),
            random.one(&["de", "fr", "it", "pl"])
        )
    }
}
