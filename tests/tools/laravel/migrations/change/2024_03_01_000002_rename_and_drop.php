<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::table('legacy_codes', function (Blueprint $table) {
            $table->renameColumn('label', 'caption');
        });
        Schema::rename('legacy_codes', 'codes');

        Schema::table('orders', function (Blueprint $table) {
            $table->dropColumn('note');
        });
        Schema::table('users', function (Blueprint $table) {
            $table->dropIndex('users_lower_email_index');
            $table->dropIndex(['name']);
            $table->string('status', 20)->default('invited')->change();
        });
        DB::unprepared('
            ALTER TABLE users ALTER COLUMN locale DROP DEFAULT;
            ALTER TABLE products DROP CONSTRAINT products_price_check;
        ');
    }
};
