<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

// Settings get an owner: a new table takes the place of the old one.
return new class extends Migration
{
    public function up()
    {
        Schema::create('settings_new', function (Blueprint $table) {
            $table->id();
            $table->foreignId('account_id')->nullable()->constrained();
            $table->text('key');
            $table->text('value')->nullable();
            $table->unique(['account_id', 'key']);
        });
        DB::statement('INSERT INTO settings_new (id, key, value) SELECT id, key, value FROM settings ORDER BY id');
        DB::select("SELECT setval('settings_new_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM settings_new), false)");

        Schema::rename('settings', 'settings_old');
        Schema::rename('settings_new', 'settings');
    }
};
