-- weight: 10
UPDATE user_oauth_tokens
SET access_token = $3, token_expiry = now() + interval '30 days', updated_at = now()
WHERE user_id = $1 AND service = $2
