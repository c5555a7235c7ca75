-- weight: 9990
UPDATE counters SET value = value + 1, updated_at = now() WHERE id = $1
