SELECT 1;
INSERT INTO users VALUES (1, 'a;b');
CREATE TABLE own (id int);
CREATE INDEX own_id ON own (id);
