CREATE TABLE counters (
    id integer PRIMARY KEY,
    name text NOT NULL,
    value bigint NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 70);

SELECT setseed(0.42);

INSERT INTO counters
SELECT n, 'counter ' || n, 0, now() - random() * interval '30 days' FROM generate_series(1, {{counters}}) AS n;
