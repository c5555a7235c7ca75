-- weight: 20
-- params: ["%archive%"]
-- params: ["%history%"]
SELECT id, title, published_at FROM articles WHERE tags LIKE $1 ORDER BY published_at DESC LIMIT 10
