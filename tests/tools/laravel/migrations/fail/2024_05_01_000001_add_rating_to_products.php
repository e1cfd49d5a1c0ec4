<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::table('products', function (Blueprint $table) {
            $table->integer('rating')->nullable();
            $table->index('rating');
        });
        DB::statement('ALTER TABLE products ADD CONSTRAINT products_rating_check CHECK (rating BETWEEN 1 AND stars)');
    }
};
