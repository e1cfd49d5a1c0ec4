-- They aren't unique: each is there twice.
CREATE UNIQUE INDEX "users_name_key" ON "users" USING btree ("name");
