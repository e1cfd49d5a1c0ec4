CREATE TABLE own (id int);
CREATE TABLE notes (id bigint PRIMARY KEY, text text);
ALTER TABLE events ALTER COLUMN id TYPE text;
