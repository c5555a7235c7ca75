-- weight: 4
SELECT id, username, email, created_at FROM users WHERE is_active ORDER BY created_at DESC LIMIT 50
