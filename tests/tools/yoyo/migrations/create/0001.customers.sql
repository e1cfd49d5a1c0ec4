-- Accounts and their users
-- depends:

CREATE TABLE accounts (
    id bigserial PRIMARY KEY,
    name varchar(100) NOT NULL,
    email varchar(100) NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id bigserial PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT users_account_fk REFERENCES accounts (id),
    email varchar(50) NOT NULL,
    name varchar(50),
    age integer,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX users_account_ix ON users (account_id);
