-- weight: 35
SELECT id, access_token, refresh_token, token_expiry FROM user_oauth_tokens WHERE user_id = $1 AND service = $2
