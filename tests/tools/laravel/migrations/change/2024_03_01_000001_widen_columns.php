<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::table('users', function (Blueprint $table) {
            $table->string('email', 100)->change();
        });
        Schema::table('products', function (Blueprint $table) {
            $table->text('title')->change();
        });
        // A rewrite.
        Schema::table('legacy_codes', function (Blueprint $table) {
            $table->bigInteger('code')->change();
        });
    }
};
