CREATE TABLE articles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id integer NOT NULL,
    title text NOT NULL,
    tags text NOT NULL,
    body text NOT NULL,
    published_at timestamptz NOT NULL
);

SELECT setseed(0.42);

-- The archive is what was published first: one article in a hundred, and none of the newer ones. The planner
-- knows how many articles carry the tag, not that they all lie at the old end.
INSERT INTO articles (author_id, title, tags, body, published_at)
SELECT (random() * 5000)::integer,
       'Article ' || n,
       CASE WHEN age > 0.99 THEN 'archive,history'
            ELSE (ARRAY['news', 'sport', 'culture,film', 'culture,music', 'science', 'travel'])[1 + n % 6] END,
       repeat(md5(n::text) || ' ', 8),
       now() - age * interval '3650 days'
FROM (SELECT n, random() AS age FROM generate_series(1, {{articles}}) AS n) AS article;
