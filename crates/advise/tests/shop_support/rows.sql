-- {{customers}} customers and what belongs to them, the same every time: chance is a hash of the row's number.
CREATE FUNCTION chance(number bigint, salt integer) RETURNS float8 LANGUAGE sql IMMUTABLE AS
    'SELECT (hashint8(number * 64 + salt) & 2147483647) / 2147483648.0::float8';

CREATE FUNCTION word(number bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    'SELECT lpad(to_hex(number & 4294967295), 8, ''0'')';

INSERT INTO customer (email, name, city, preferences, created_at, deleted_at)
SELECT 'User' || i || '@Mail' || i % 7 || '.example',
    initcap(substr(md5(i::text), 1, 8)) || ' ' || initcap(substr(md5((i * 7)::text), 1, 9)),
    'city ' || floor(power(chance(i, 1), 2) * 400),
    jsonb_build_object('language', (ARRAY['en', 'de', 'fr', 'es'])[1 + floor(chance(i, 2) * 4)::int],
        'tier', CASE WHEN chance(i, 3) < 0.004 THEN 'gold' WHEN chance(i, 3) < 0.05 THEN 'silver' ELSE 'plain' END),
    timestamptz '2022-01-01 00:00+00' + i * (interval '1000 days' / {{customers}}),
    CASE WHEN chance(i, 4) < 0.01 THEN timestamptz '2024-01-01 00:00+00' + chance(i, 5) * interval '300 days' END
FROM generate_series(1, {{customers}}) i;

INSERT INTO login_session (token, customer_id, expires_at, last_seen, requests)
SELECT word(i * 2654435761) || word(i * 2246822519) || word(i * 3266489917) || word(i * 668265263),
    1 + floor(chance(i, 1) * {{customers}}),
    timestamptz '2025-01-01 00:00+00' + i * (interval '20 days' / {{customers}}),
    timestamptz '2024-12-31 00:00+00' + chance(i, 2) * interval '1 day', 1 + floor(chance(i, 3) * 90)
FROM generate_series(1::bigint, {{customers}} * 3 / 2) i;

INSERT INTO product (sku, title, category_id, price, stock, sold, active, attributes)
SELECT 'SKU-' || word(i * 2654435761),
    'Product ' || i || ' ' || md5((i * 3)::text),
    1 + floor(power(chance(i, 1), 2) * 60), round((5 + power(chance(i, 2), 3) * 900)::numeric, 2),
    floor(chance(i, 3) * 500), floor(power(chance(i, 4), 4) * 10000), chance(i, 5) < 0.8,
    jsonb_build_object('colour', 'colour ' || floor(chance(i, 6) * 30), 'weight', floor(chance(i, 7) * 2000),
        'material', 'material ' || floor(power(chance(i, 8), 2) * 50))
FROM generate_series(1::bigint, {{customers}} / 5) i;

INSERT INTO purchase (customer_id, status, placed_at, total, address, deleted_at)
SELECT 1 + floor(power(chance(i, 1), 2) * {{customers}}),
    CASE WHEN i > {{customers}} * 3 * 0.97
        THEN (ARRAY['open', 'open', 'paid', 'packed', 'delivered'])[1 + floor(chance(i, 2) * 5)::int]
        ELSE CASE WHEN chance(i, 2) < 0.01 THEN 'returned' WHEN chance(i, 2) < 0.05 THEN 'cancelled' ELSE 'delivered' END
    END,
    timestamptz '2024-01-01 00:00+00' + i * (interval '366 days' / ({{customers}} * 3)),
    round((10 + power(chance(i, 3), 3) * 2000)::numeric, 2),
    'street ' || md5(i::text) || ' ' || i % 200,
    CASE WHEN chance(i, 4) < 0.02 THEN timestamptz '2025-01-01 00:00+00' END
FROM generate_series(1, {{customers}} * 3) i;

INSERT INTO purchase_item (purchase_id, product_id, quantity, price)
SELECT (i + 1) / 2, 1 + floor(power(chance(i, 1), 2) * ({{customers}} / 5)), 1 + floor(chance(i, 2) * 4),
    round((5 + power(chance(i, 3), 3) * 900)::numeric, 2)
FROM generate_series(1, {{customers}} * 6) i;

INSERT INTO event (at, kind, customer_id, payload)
SELECT timestamptz '2024-12-01 00:00+00' + i * (interval '31 days' / ({{customers}} * 4)),
    (ARRAY['view', 'view', 'view', 'view', 'search', 'search', 'cart', 'login', 'login', 'pay'])[1 + floor(chance(i, 1) * 10)::int],
    1 + floor(power(chance(i, 2), 2) * {{customers}}),
    jsonb_build_object('page', '/page/' || floor(chance(i, 3) * 5000), 'agent', 'agent ' || i % 40)
FROM generate_series(1, {{customers}} * 4) i;

INSERT INTO ledger_entry (account_id, booked_at, cents, memo)
SELECT 1 + floor(power(chance(i, 1), 1.5) * greatest(100, {{customers}} / 100)),
    timestamptz '2023-01-01 00:00+00' + i * (interval '730 days' / ({{customers}} * 6)),
    (chance(i, 2) * 200000)::bigint - 90000, 'booking ' || md5(i::text)
FROM generate_series(1, {{customers}} * 6) i;

DROP FUNCTION chance;
DROP FUNCTION word;
