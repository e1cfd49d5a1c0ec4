// As `typeorm migration:generate` writes them, but with names a reader can follow.
module.exports = class AccountsAndUsers1704067200001 {
  async up(queryRunner) {
    await queryRunner.query(`CREATE TABLE "accounts" (
      "id" BIGSERIAL NOT NULL,
      "name" character varying(50) NOT NULL,
      "email" character varying(100) NOT NULL,
      "active" boolean NOT NULL DEFAULT true,
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
      CONSTRAINT "accounts_email_key" UNIQUE ("email"),
      CONSTRAINT "accounts_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(`CREATE TABLE "users" (
      "id" BIGSERIAL NOT NULL,
      "account_id" bigint NOT NULL,
      "email" character varying(100) NOT NULL,
      "name" character varying(50),
      "age" integer,
      "created_at" TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
      CONSTRAINT "users_pkey" PRIMARY KEY ("id"))`);
    await queryRunner.query(`CREATE INDEX "users_account_id_idx" ON "users" ("account_id") `);
    await queryRunner.query(`ALTER TABLE "users" ADD CONSTRAINT "users_account_id_fkey"
      FOREIGN KEY ("account_id") REFERENCES "accounts"("id") ON DELETE NO ACTION ON UPDATE NO ACTION`);
  }

  async down(queryRunner) {
    await queryRunner.query(`DROP TABLE "users"`);
    await queryRunner.query(`DROP TABLE "accounts"`);
  }
};
