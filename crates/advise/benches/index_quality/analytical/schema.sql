-- A chain that sells outdoor equipment in shops, on the web and to traders: 7 relations of facts, 17 of dimensions,
-- primary keys only.
CREATE TABLE region (id int PRIMARY KEY, name text NOT NULL, zone text NOT NULL);
CREATE TABLE town (id int PRIMARY KEY, name text NOT NULL, region_id int NOT NULL, population int NOT NULL, coastal boolean NOT NULL);
CREATE TABLE segment (id int PRIMARY KEY, name text NOT NULL, spending text NOT NULL);
CREATE TABLE household (id int PRIMARY KEY, segment_id int NOT NULL, members int NOT NULL, income_band int NOT NULL, cars int NOT NULL);
CREATE TABLE client (id int PRIMARY KEY, name text NOT NULL, household_id int NOT NULL, town_id int NOT NULL, born int NOT NULL,
    since date NOT NULL, language text NOT NULL, newsletter boolean NOT NULL);
CREATE TABLE calendar (id int PRIMARY KEY, day date NOT NULL, year int NOT NULL, quarter int NOT NULL, month int NOT NULL,
    week int NOT NULL, weekday int NOT NULL, holiday boolean NOT NULL);
CREATE TABLE clock (id int PRIMARY KEY, hour int NOT NULL, minute int NOT NULL, shift text NOT NULL);
CREATE TABLE supplier (id int PRIMARY KEY, name text NOT NULL, town_id int NOT NULL, rating int NOT NULL);
CREATE TABLE brand (id int PRIMARY KEY, name text NOT NULL, supplier_id int NOT NULL, tier text NOT NULL);
CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL, department text NOT NULL, season text NOT NULL);
CREATE TABLE article (id int PRIMARY KEY, code text NOT NULL, brand_id int NOT NULL, category_id int NOT NULL, colour text NOT NULL,
    size text NOT NULL, price numeric(8, 2) NOT NULL, cost numeric(8, 2) NOT NULL, introduced date NOT NULL);
CREATE TABLE outlet (id int PRIMARY KEY, name text NOT NULL, town_id int NOT NULL, kind text NOT NULL, floor_area int NOT NULL, opened int NOT NULL);
CREATE TABLE depot (id int PRIMARY KEY, name text NOT NULL, town_id int NOT NULL, area int NOT NULL);
CREATE TABLE carrier (id int PRIMARY KEY, name text NOT NULL, mode text NOT NULL);
CREATE TABLE campaign (id int PRIMARY KEY, name text NOT NULL, channel text NOT NULL, budget int NOT NULL);
CREATE TABLE tender (id int PRIMARY KEY, name text NOT NULL, kind text NOT NULL);
CREATE TABLE reason (id int PRIMARY KEY, name text NOT NULL, fault text NOT NULL);

CREATE TABLE shop_sale (ticket int NOT NULL, line int NOT NULL, day_id int NOT NULL, clock_id int NOT NULL, article_id int NOT NULL,
    client_id int, outlet_id int NOT NULL, campaign_id int NOT NULL, tender_id int NOT NULL, quantity int NOT NULL,
    paid numeric(10, 2) NOT NULL, discount numeric(10, 2) NOT NULL, profit numeric(10, 2) NOT NULL, PRIMARY KEY (ticket, line));
CREATE TABLE web_sale (ticket int NOT NULL, line int NOT NULL, day_id int NOT NULL, clock_id int NOT NULL, article_id int NOT NULL,
    client_id int NOT NULL, campaign_id int NOT NULL, carrier_id int NOT NULL, depot_id int NOT NULL, tender_id int NOT NULL,
    quantity int NOT NULL, paid numeric(10, 2) NOT NULL, shipping numeric(10, 2) NOT NULL, profit numeric(10, 2) NOT NULL,
    shipped_day_id int NOT NULL, PRIMARY KEY (ticket, line));
CREATE TABLE trade_sale (ticket int NOT NULL, line int NOT NULL, day_id int NOT NULL, article_id int NOT NULL, town_id int NOT NULL,
    carrier_id int NOT NULL, depot_id int NOT NULL, quantity int NOT NULL, paid numeric(10, 2) NOT NULL, profit numeric(10, 2) NOT NULL,
    PRIMARY KEY (ticket, line));
CREATE TABLE shop_return (ticket int NOT NULL, line int NOT NULL, day_id int NOT NULL, article_id int NOT NULL, client_id int,
    outlet_id int NOT NULL, reason_id int NOT NULL, quantity int NOT NULL, refund numeric(10, 2) NOT NULL, PRIMARY KEY (ticket, line));
CREATE TABLE web_return (ticket int NOT NULL, line int NOT NULL, day_id int NOT NULL, article_id int NOT NULL, client_id int NOT NULL,
    carrier_id int NOT NULL, reason_id int NOT NULL, quantity int NOT NULL, refund numeric(10, 2) NOT NULL, PRIMARY KEY (ticket, line));
CREATE TABLE stock (day_id int NOT NULL, article_id int NOT NULL, depot_id int NOT NULL, on_hand int NOT NULL, ordered int NOT NULL,
    PRIMARY KEY (day_id, article_id, depot_id));
CREATE TABLE delivery (id int PRIMARY KEY, day_id int NOT NULL, depot_id int NOT NULL, outlet_id int NOT NULL, carrier_id int NOT NULL,
    article_id int NOT NULL, supplier_id int NOT NULL, quantity int NOT NULL, freight numeric(10, 2) NOT NULL, late_days int NOT NULL);
