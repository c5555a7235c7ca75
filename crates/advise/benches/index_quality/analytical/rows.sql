-- Rows, the same every time: chance is a hash of the row's number. {{scale}} multiplies the facts.
CREATE FUNCTION chance(number bigint, salt integer) RETURNS float8 LANGUAGE sql IMMUTABLE AS
    'SELECT (hashint8(number * 64 + salt) & 2147483647) / 2147483648.0::float8';
-- A number from 1 to most; the higher the power, the more often a small one.
CREATE FUNCTION pick(number bigint, salt integer, most integer, power float8) RETURNS integer LANGUAGE sql IMMUTABLE AS
    'SELECT 1 + floor(power((hashint8(number * 64 + salt) & 2147483647) / 2147483648.0::float8, power) * most)::int';

INSERT INTO region SELECT i, 'region ' || i, 'zone ' || 1 + i % 8 FROM generate_series(1, 40) i;
INSERT INTO town SELECT i, 'town ' || i, pick(i, 1, 40, 1.3), 1000 + floor(power(chance(i, 2), 4) * 900000), chance(i, 3) < 0.2 FROM generate_series(1, 2000) i;
INSERT INTO segment SELECT i, 'segment ' || i, (ARRAY['low', 'middle', 'high'])[1 + i % 3] FROM generate_series(1, 20) i;
INSERT INTO household SELECT i, pick(i, 1, 20, 1.5), pick(i, 2, 7, 1), pick(i, 3, 20, 1), pick(i, 4, 5, 1) - 1 FROM generate_series(1, 7000) i;
INSERT INTO client SELECT i, 'client ' || md5(i::text), pick(i, 1, 7000, 1), pick(i, 2, 2000, 2), 1925 + pick(i, 3, 80, 1),
    date '2010-01-01' + pick(i, 4, 5000, 0.8), (ARRAY['en', 'de', 'fr', 'es', 'it', 'pl'])[pick(i, 5, 6, 2)], chance(i, 6) < 0.3
    FROM generate_series(1, 60000) i;
INSERT INTO calendar SELECT i, day, extract(year FROM day), extract(quarter FROM day), extract(month FROM day), (i - 1) / 7, extract(isodow FROM day), i % 37 = 0
    FROM generate_series(1, 1830) i, LATERAL (SELECT date '2019-12-31' + i AS day) d;
INSERT INTO clock SELECT i, (i - 1) / 60, (i - 1) % 60, (ARRAY['night', 'morning', 'day', 'evening'])[1 + (i - 1) / 360] FROM generate_series(1, 1440) i;
INSERT INTO supplier SELECT i, 'supplier ' || i, pick(i, 1, 2000, 2), pick(i, 2, 5, 1) FROM generate_series(1, 600) i;
INSERT INTO brand SELECT i, 'brand ' || i, pick(i, 1, 600, 1), (ARRAY['budget', 'standard', 'standard', 'premium'])[1 + i % 4] FROM generate_series(1, 400) i;
INSERT INTO category SELECT i, 'category ' || i, 'department ' || 1 + i % 9, (ARRAY['summer', 'winter', 'all year', 'all year'])[1 + i % 4] FROM generate_series(1, 80) i;
INSERT INTO article SELECT i, 'A' || lpad(to_hex(i * 2654435761 & 4294967295), 8, '0'), pick(i, 1, 400, 1.5), pick(i, 2, 80, 1.2), 'colour ' || pick(i, 3, 30, 1.5),
    (ARRAY['XS', 'S', 'M', 'L', 'XL', 'none'])[pick(i, 4, 6, 1)], 5 + power(chance(i, 5), 3) * 900, 3 + power(chance(i, 5), 3) * 600, date '2018-01-01' + pick(i, 6, 2500, 0.8)
    FROM generate_series(1::bigint, 18000) i;
INSERT INTO outlet SELECT i, 'outlet ' || i, pick(i, 1, 2000, 2), (ARRAY['city', 'mall', 'factory'])[1 + i % 3], 200 + pick(i, 2, 3000, 2), 1980 + pick(i, 3, 40, 0.7) FROM generate_series(1, 150) i;
INSERT INTO depot SELECT i, 'depot ' || i, pick(i, 1, 2000, 1), 5000 + pick(i, 2, 40000, 1) FROM generate_series(1, 12) i;
INSERT INTO carrier SELECT i, 'carrier ' || i, (ARRAY['road', 'rail', 'air', 'bicycle'])[1 + i % 4] FROM generate_series(1, 20) i;
INSERT INTO campaign SELECT i, 'campaign ' || i, (ARRAY['none', 'mail', 'radio', 'web', 'poster'])[1 + i % 5], pick(i, 1, 90000, 2) FROM generate_series(1, 300) i;
INSERT INTO tender SELECT i, 'tender ' || i, (ARRAY['cash', 'card', 'card', 'voucher'])[1 + i % 4] FROM generate_series(1, 12) i;
INSERT INTO reason SELECT i, 'reason ' || i, (ARRAY['client', 'maker', 'carrier'])[1 + i % 3] FROM generate_series(1, 36) i;

-- A ticket has about three lines; tickets come in the order of days, lines of a ticket on one day.
INSERT INTO shop_sale
SELECT t, l, 1 + least(1824, floor(power(t / ({{scale}} * 233000.0), 0.9) * 1825)::int), pick(t, 2, 840, 1) + 480, pick(t * 4 + l, 3, 18000, 1.6),
    CASE WHEN chance(t, 4) < 0.95 THEN pick(t, 5, 60000, 1.4) END, pick(t, 6, 150, 1.3), pick(t * 4 + l, 7, 300, 2), pick(t, 8, 12, 1.5),
    pick(t * 4 + l, 9, 6, 2), 5 + power(chance(t * 4 + l, 10), 3) * 900, CASE WHEN chance(t * 4 + l, 11) < 0.2 THEN chance(t * 4 + l, 12) * 50 ELSE 0 END,
    chance(t * 4 + l, 13) * 120 - 30
FROM generate_series(1::bigint, ({{scale}} * 233000)::bigint) t, generate_series(1, pick(t, 1, 5, 1)) l;
INSERT INTO web_sale
SELECT t, l, 1 + least(1824, floor(power(t / ({{scale}} * 150000.0), 0.7) * 1825)::int), pick(t, 2, 1440, 1), pick(t * 4 + l, 3, 18000, 1.8),
    pick(t, 5, 60000, 1.6), pick(t * 4 + l, 7, 300, 2), pick(t, 6, 20, 1.5), pick(t, 9, 12, 1.2), pick(t, 8, 12, 1.5),
    pick(t * 4 + l, 10, 6, 2), 5 + power(chance(t * 4 + l, 11), 3) * 900, chance(t, 12) * 20, chance(t * 4 + l, 13) * 120 - 30,
    1 + least(1829, floor(power(t / ({{scale}} * 150000.0), 0.7) * 1825)::int + pick(t, 14, 9, 2))
FROM generate_series(1::bigint, ({{scale}} * 150000)::bigint) t, generate_series(1, pick(t, 1, 5, 1)) l;
INSERT INTO trade_sale
SELECT t, l, 1 + least(1824, floor(t / ({{scale}} * 50000.0) * 1825)::int), pick(t * 8 + l, 3, 18000, 1.3), pick(t, 4, 2000, 2), pick(t, 5, 20, 1.2), pick(t, 6, 12, 1),
    10 * pick(t * 8 + l, 7, 40, 2), 100 + power(chance(t * 8 + l, 8), 3) * 9000, chance(t * 8 + l, 9) * 900 - 100
FROM generate_series(1::bigint, ({{scale}} * 50000)::bigint) t, generate_series(1, pick(t, 1, 9, 1)) l;
INSERT INTO shop_return
SELECT ticket, line, least(1830, day_id + pick(ticket, 20, 60, 2)), article_id, client_id, outlet_id, pick(ticket * 4 + line, 21, 36, 1.5), 1, paid
FROM shop_sale WHERE chance(ticket * 8::bigint + line, 22) < 0.09;
INSERT INTO web_return
SELECT ticket, line, least(1830, shipped_day_id + pick(ticket, 20, 40, 2)), article_id, client_id, carrier_id, pick(ticket * 4 + line, 21, 36, 1.5), 1, paid
FROM web_sale WHERE chance(ticket * 8::bigint + line, 22) < 0.14;
-- The stock once a month, of a part of the articles.
INSERT INTO stock
SELECT 1 + 30 * m, a, d, pick(m * 300000 + a * 12 + d, 1, 900, 2) - 1, pick(m * 300000 + a * 12 + d, 2, 200, 3) - 1
FROM generate_series(0::bigint, 60) m, generate_series(1, (3000 * {{scale}})::int) a, generate_series(1, 12) d WHERE chance(a * 12 + d, 3) < 0.25;
INSERT INTO delivery
SELECT i, 1 + least(1824, floor(i / ({{scale}} * 300000.0) * 1825)::int), pick(i, 1, 12, 1.2), pick(i, 2, 150, 1.2), pick(i, 3, 20, 1.4), pick(i, 4, 18000, 1.5), pick(i, 5, 600, 1.5),
    pick(i, 6, 200, 2), chance(i, 7) * 300, CASE WHEN chance(i, 8) < 0.1 THEN pick(i, 9, 15, 2) ELSE 0 END
FROM generate_series(1::bigint, ({{scale}} * 300000)::bigint) i;

DROP FUNCTION pick;
DROP FUNCTION chance;
