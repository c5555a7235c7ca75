-- weight: 80
SELECT title, tags, body FROM articles WHERE id = $1
