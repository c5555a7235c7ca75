-- weight: 15
SELECT id, username, email, password_hash, is_active FROM users WHERE email = $1
