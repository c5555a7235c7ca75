
CREATE INDEX users_username_idx ON users (username);
CREATE INDEX users_email_idx ON users (email);
CREATE INDEX users_created_at_idx ON users (created_at DESC) WHERE is_active;
CREATE INDEX user_oauth_tokens_user_id_service_idx ON user_oauth_tokens (user_id, service);
CREATE INDEX user_oauth_tokens_token_expiry_idx ON user_oauth_tokens (token_expiry);
