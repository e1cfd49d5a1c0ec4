<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::create('events', function (Blueprint $table) {
            $table->id();
            $table->unsignedBigInteger('user_id')->nullable();
            $table->text('kind');
            $table->jsonb('payload')->nullable();
            $table->timestampTz('created_at')->useCurrent();
            $table->index(['kind', 'created_at']);
        });

        Schema::create('settings', function (Blueprint $table) {
            $table->id();
            $table->text('key');
            $table->text('value')->nullable();
        });

        Schema::create('legacy_codes', function (Blueprint $table) {
            $table->increments('id');
            $table->integer('code');
            $table->text('label')->nullable();
        });
    }
};
