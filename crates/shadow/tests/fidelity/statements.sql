SELECT * FROM shop.customers WHERE id = 77
SELECT * FROM shop.customers WHERE lower(email) = 'bob100@example.com'
SELECT id FROM shop.customers WHERE email LIKE 'Anna12%'
SELECT * FROM shop.customers WHERE city = 1 AND score > 0.9 ORDER BY score DESC LIMIT 10
SELECT born FROM shop.customers WHERE city = 17 AND score BETWEEN -0.5 AND 0.5
SELECT * FROM shop.customers WHERE tags @> ARRAY['t3', 't33']
SELECT * FROM shop.customers WHERE 't999' = ANY (tags) OR tags && ARRAY['t6']
SELECT count(*) FROM shop.customers WHERE profile @> '{"plan": "gold"}'
SELECT * FROM shop.customers WHERE words @@ to_tsquery('simple', 'w7 & w107')
SELECT * FROM shop.customers WHERE shop.digits(email) = '4711'
SELECT * FROM shop.customers WHERE (home).zip = 12
SELECT * FROM shop.customers WHERE born > '2004-06-01' OR born IS NULL
SELECT initial, count(*) FROM shop.customers GROUP BY initial
SELECT city, score, count(*) FROM shop.customers GROUP BY city, score
SELECT * FROM shop.orders WHERE at > '2026-09-03 12:00+00' AND state <> 'sent'
SELECT * FROM shop.orders WHERE at BETWEEN '2026-03-01' AND '2026-03-02'
SELECT max(at), count(*) FROM shop.orders WHERE state = 'paid'
SELECT * FROM shop.orders WHERE state = 'lost' ORDER BY at LIMIT 5
SELECT * FROM shop.orders WHERE state > 'paid' AND amount < 10
SELECT * FROM shop.orders WHERE token = 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'
SELECT * FROM shop.orders WHERE stay @> timestamp '2026-02-01 10:00'
SELECT * FROM shop.orders WHERE stay && tsrange('2026-03-01', '2026-03-05')
SELECT * FROM shop.orders WHERE bid @> 77.5
SELECT * FROM shop.orders WHERE note LIKE 'note note%'
SELECT * FROM shop.orders WHERE kind = 'k7' AND sort = 14 AND state = 'sent'
SELECT kind, sort, state, count(*) FROM shop.orders GROUP BY kind, sort, state
SELECT * FROM shop.orders WHERE id > 63990
SELECT * FROM shop.orders o JOIN shop.customers c ON c.id = o.customer WHERE c.city = 33
SELECT c.city, sum(o.amount) FROM shop.orders o JOIN shop.customers c ON c.id = o.customer WHERE o.at > '2026-05-01' GROUP BY c.city
SELECT * FROM shop.customers c WHERE NOT EXISTS (SELECT 1 FROM shop.orders o WHERE o.customer = c.id)
SELECT * FROM shop.orders a JOIN shop.orders b USING (id) ORDER BY id LIMIT 20
SELECT * FROM shop.events WHERE at = '2026-02-14' AND source < 20
SELECT * FROM shop.events WHERE weight = 13
SELECT source, count(*) FROM shop.events GROUP BY source
SELECT * FROM shop.events WHERE at > '2026-04-20' ORDER BY at, source LIMIT 7
SELECT * FROM shop.base WHERE id = 1500
SELECT v, count(*) FROM ONLY shop.base GROUP BY v
SELECT * FROM shop."Odd names" WHERE "a b" = 'it''s "3\' AND c = 'B'
SELECT * FROM shop."Odd names" WHERE flag AND ip << inet '10.0.17.0/24'
SELECT * FROM shop.empty e JOIN shop.never n USING (id)
SELECT * FROM shop.never WHERE id > 2990
SELECT * FROM shop.gold WHERE email LIKE '%77%'
SELECT * FROM shop.per_city WHERE city = 5 OR n > 100
INSERT INTO shop.orders (customer, state, at) VALUES (1, 'new', '2026-09-09')
UPDATE shop.orders SET amount = 5 WHERE customer = 55
DELETE FROM shop.events WHERE at < '2026-01-05'
