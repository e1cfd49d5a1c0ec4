<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\DB;

return new class extends Migration
{
    public $withinTransaction = false;

    public function up()
    {
        DB::statement(<<<'SQL'
            ALTER TABLE order_items
                ADD CONSTRAINT order_items_quantity_check CHECK (quantity > 0) NOT VALID
            SQL);
        DB::statement('ALTER TABLE order_items VALIDATE CONSTRAINT order_items_quantity_check');
    }
};
