-- weight: 10
SELECT id, name, value FROM counters WHERE updated_at > now() - interval '1 second' ORDER BY updated_at DESC
