-- weight: 1
DELETE FROM user_oauth_tokens
WHERE id IN (SELECT id FROM user_oauth_tokens WHERE token_expiry < now() ORDER BY token_expiry LIMIT 20)
