-- weight: 5
INSERT INTO user_oauth_tokens
    (user_id, service, access_token, refresh_token, token_expiry, created_at, updated_at)
VALUES ($1, $2, $3, $4, now() + interval '30 days', now(), now())
