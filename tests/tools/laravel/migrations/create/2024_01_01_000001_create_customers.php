<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::create('accounts', function (Blueprint $table) {
            $table->id();
            $table->string('name', 100);
            $table->string('email', 100);
            $table->boolean('active')->default(true);
            $table->timestampTz('created_at')->useCurrent();
        });

        Schema::create('users', function (Blueprint $table) {
            $table->id();
            $table->foreignId('account_id')->index()->constrained();
            $table->string('email', 50);
            $table->string('name', 50)->nullable();
            $table->integer('age')->nullable();
            $table->timestampTz('created_at')->useCurrent();
        });
    }

    public function down()
    {
        Schema::dropIfExists('users');
        Schema::dropIfExists('accounts');
    }
};
