<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\DB;

return new class extends Migration
{
    public $withinTransaction = false;

    public function up()
    {
        DB::statement('CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_total_index ON orders (total)');
        DB::statement('CREATE INDEX CONCURRENTLY events_user_id_created_at_index ON events (user_id, created_at DESC)');
        DB::statement('DROP INDEX CONCURRENTLY IF EXISTS orders_open_index');
    }
};
