-- weight: 30
SELECT id, username, email, password_hash, is_active FROM users WHERE username = $1
