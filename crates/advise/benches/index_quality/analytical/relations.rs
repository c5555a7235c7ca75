//! What the grammar knows of the relations: how they hang together, and which values their columns have.

/// Values of a column.
pub enum Domain {
    /// `'word n'` for n from 1 on.
    Words(&'static str, u64),
    /// One of these.
    List(&'static [&'static str]),
    /// Whole numbers between two.
    Numbers(u64, u64),
    /// True or false.
    Flag,
    /// Days between two years.
    Days(u64, u64),
}
use Domain::{Days, Flag, List, Numbers, Words};

/// A column with its values, and whether one groups by it.
pub struct Attribute(pub &'static str, pub Domain, pub bool);

/// A column with the relation whose `id` it is.
pub type Link = (&'static str, &'static str);

/// A relation of dimensions.
pub struct Dimension {
    pub name: &'static str,
    pub attributes: &'static [Attribute],
    pub links: &'static [Link],
}

/// A relation of facts; all have `day_id`, `article_id` and `quantity` but for the stock, which has no quantity.
pub struct Fact {
    pub name: &'static str,
    pub links: &'static [Link],
    pub measures: &'static [&'static str],
}

const fn dimension(
    name: &'static str,
    attributes: &'static [Attribute],
    links: &'static [Link],
) -> Dimension {
    Dimension { name, attributes, links }
}

const SIZES: &[&str] = &["XS", "S", "M", "L", "XL", "none"];
const LANGUAGES: &[&str] = &["en", "de", "fr", "es", "it", "pl"];

pub const DIMENSIONS: &[Dimension] = &[
    dimension(
        "region",
        &[Attribute("name", Words("region", 40), true), Attribute("zone", Words("zone", 8), true)],
        &[],
    ),
    dimension(
        "town",
        &[
            Attribute("name", Words("town", 2000), true),
            Attribute("population", Numbers(1000, 900_000), false),
            Attribute("coastal", Flag, true),
        ],
        &[("region_id", "region")],
    ),
    dimension(
        "segment",
        &[
            Attribute("name", Words("segment", 20), true),
            Attribute("spending", List(&["low", "middle", "high"]), true),
        ],
        &[],
    ),
    dimension(
        "household",
        &[
            Attribute("members", Numbers(1, 7), true),
            Attribute("income_band", Numbers(1, 20), true),
            Attribute("cars", Numbers(0, 4), true),
        ],
        &[("segment_id", "segment")],
    ),
    dimension(
        "client",
        &[
            Attribute("born", Numbers(1926, 2005), true),
            Attribute("language", List(LANGUAGES), true),
            Attribute("since", Days(2010, 2023), false),
            Attribute("newsletter", Flag, true),
        ],
        &[("household_id", "household"), ("town_id", "town")],
    ),
    dimension(
        "clock",
        &[
            Attribute("hour", Numbers(0, 23), true),
            Attribute("shift", List(&["night", "morning", "day", "evening"]), true),
        ],
        &[],
    ),
    dimension(
        "supplier",
        &[
            Attribute("name", Words("supplier", 600), true),
            Attribute("rating", Numbers(1, 5), true),
        ],
        &[("town_id", "town")],
    ),
    dimension(
        "brand",
        &[
            Attribute("name", Words("brand", 400), true),
            Attribute("tier", List(&["budget", "standard", "premium"]), true),
        ],
        &[("supplier_id", "supplier")],
    ),
    dimension(
        "category",
        &[
            Attribute("name", Words("category", 80), true),
            Attribute("department", Words("department", 9), true),
            Attribute("season", List(&["summer", "winter", "all year"]), true),
        ],
        &[],
    ),
    dimension(
        "article",
        &[
            Attribute("colour", Words("colour", 30), true),
            Attribute("size", List(SIZES), true),
            Attribute("price", Numbers(5, 900), false),
            Attribute("introduced", Days(2018, 2023), false),
        ],
        &[("brand_id", "brand"), ("category_id", "category")],
    ),
    dimension(
        "outlet",
        &[
            Attribute("name", Words("outlet", 150), true),
            Attribute("kind", List(&["city", "mall", "factory"]), true),
            Attribute("floor_area", Numbers(200, 3200), false),
        ],
        &[("town_id", "town")],
    ),
    dimension(
        "depot",
        &[
            Attribute("name", Words("depot", 12), true),
            Attribute("area", Numbers(5000, 45_000), false),
        ],
        &[("town_id", "town")],
    ),
    dimension(
        "carrier",
        &[
            Attribute("name", Words("carrier", 20), true),
            Attribute("mode", List(&["road", "rail", "air", "bicycle"]), true),
        ],
        &[],
    ),
    dimension(
        "campaign",
        &[
            Attribute("name", Words("campaign", 300), true),
            Attribute("channel", List(&["none", "mail", "radio", "web", "poster"]), true),
        ],
        &[],
    ),
    dimension(
        "tender",
        &[
            Attribute("name", Words("tender", 12), true),
            Attribute("kind", List(&["cash", "card", "voucher"]), true),
        ],
        &[],
    ),
    dimension(
        "reason",
        &[
            Attribute("name", Words("reason", 36), true),
            Attribute("fault", List(&["client", "maker", "carrier"]), true),
        ],
        &[],
    ),
];

pub const SHOP_SALE: Fact = Fact {
    name: "shop_sale",
    links: &[
        ("clock_id", "clock"),
        ("article_id", "article"),
        ("client_id", "client"),
        ("outlet_id", "outlet"),
        ("campaign_id", "campaign"),
        ("tender_id", "tender"),
    ],
    measures: &["quantity", "paid", "discount", "profit"],
};
pub const WEB_SALE: Fact = Fact {
    name: "web_sale",
    links: &[
        ("clock_id", "clock"),
        ("article_id", "article"),
        ("client_id", "client"),
        ("campaign_id", "campaign"),
        ("carrier_id", "carrier"),
        ("depot_id", "depot"),
        ("tender_id", "tender"),
    ],
    measures: &["quantity", "paid", "shipping", "profit"],
};
pub const TRADE_SALE: Fact = Fact {
    name: "trade_sale",
    links: &[
        ("article_id", "article"),
        ("town_id", "town"),
        ("carrier_id", "carrier"),
        ("depot_id", "depot"),
    ],
    measures: &["quantity", "paid", "profit"],
};
pub const SHOP_RETURN: Fact = Fact {
    name: "shop_return",
    links: &[
        ("article_id", "article"),
        ("client_id", "client"),
        ("outlet_id", "outlet"),
        ("reason_id", "reason"),
    ],
    measures: &["quantity", "refund"],
};
pub const WEB_RETURN: Fact = Fact {
    name: "web_return",
    links: &[
        ("article_id", "article"),
        ("client_id", "client"),
        ("carrier_id", "carrier"),
        ("reason_id", "reason"),
    ],
    measures: &["quantity", "refund"],
};
pub const STOCK: Fact = Fact {
    name: "stock",
    links: &[("article_id", "article"), ("depot_id", "depot")],
    measures: &["on_hand", "ordered"],
};
pub const DELIVERY: Fact = Fact {
    name: "delivery",
    links: &[
        ("depot_id", "depot"),
        ("outlet_id", "outlet"),
        ("carrier_id", "carrier"),
        ("article_id", "article"),
        ("supplier_id", "supplier"),
    ],
    measures: &["quantity", "freight", "late_days"],
};
/// All, those that are asked about most several times.
pub const FACTS: &[&Fact] = &[
    &SHOP_SALE,
    &SHOP_SALE,
    &SHOP_SALE,
    &WEB_SALE,
    &WEB_SALE,
    &WEB_SALE,
    &TRADE_SALE,
    &TRADE_SALE,
    &SHOP_RETURN,
    &WEB_RETURN,
    &STOCK,
    &DELIVERY,
];
