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
            $table->string('phone', 20)->nullable();
            $table->string('locale', 10)->nullable()->default('en');
            $table->string('status', 20)->default('active')->comment('active, minor or invited');
        });

        DB::table('users')->whereNull('name')->update(['name' => 'nameless']);
        // By way of doctrine/dbal, which compares the column with the catalog's.
        Schema::table('users', function (Blueprint $table) {
            $table->string('name', 50)->nullable(false)->change();
        });
    }
};
