<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::table('users', function (Blueprint $table) {
            $table->index('name');
            $table->unique('email');
            $table->rawIndex('lower(email)', 'users_lower_email_index');
        });
        Schema::table('products', function (Blueprint $table) {
            $table->unique('sku');
        });
        Schema::table('settings', function (Blueprint $table) {
            $table->unique('key');
        });
        Schema::table('events', function (Blueprint $table) {
            $table->index('user_id');
            $table->foreign('user_id')->references('id')->on('users')->nullOnDelete();
        });

        // What Laravel has no word for.
        DB::statement("CREATE INDEX orders_open_index ON orders (created_at) WHERE state <> 'closed'");
        DB::statement('ALTER TABLE orders ADD CONSTRAINT orders_total_check CHECK (total >= 0)');
        DB::statement('ALTER TABLE products ADD CONSTRAINT products_price_check CHECK (price >= 0)');
    }
};
