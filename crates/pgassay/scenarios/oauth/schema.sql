CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text NOT NULL,
    email text NOT NULL,
    password_hash text NOT NULL,
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL,
    last_login timestamptz
);

CREATE TABLE user_oauth_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    service text NOT NULL,
    access_token text NOT NULL,
    refresh_token text NOT NULL,
    token_expiry timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

SELECT setseed(0.42);

-- One user in five is inactive; people signed up over three years, in no particular order of their ids.
INSERT INTO users (username, email, password_hash, is_active, created_at, last_login)
SELECT 'user' || n,
       'user' || n || '@example.' || (ARRAY['com', 'org', 'net', 'edu'])[1 + n % 4],
       md5(n::text) || md5((n + 1)::text),
       random() < 0.8,
       now() - random() * interval '1095 days',
       CASE WHEN random() < 0.9 THEN now() - random() * interval '90 days' END
FROM generate_series(1, {{users}}) AS n;

-- Three services a user; one token in ten has expired.
INSERT INTO user_oauth_tokens
    (user_id, service, access_token, refresh_token, token_expiry, created_at, updated_at)
SELECT 1 + n % {{users}},
       (ARRAY['google', 'github', 'gitlab', 'slack', 'dropbox', 'microsoft'])[1 + (n / {{users}} * 2 + n % 2)],
       md5(n::text) || md5((n * 7)::text),
       md5((n * 13)::text),
       now() + (random() * 30 - 3) * interval '1 day',
       now() - random() * interval '365 days',
       now() - random() * interval '30 days'
FROM generate_series(0, {{users}} * 3 - 1) AS n;

ALTER TABLE user_oauth_tokens ADD FOREIGN KEY (user_id) REFERENCES users (id);
