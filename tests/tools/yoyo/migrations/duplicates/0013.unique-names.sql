-- depends: 0012.ratings
CREATE UNIQUE INDEX users_name_uq ON users (name);
