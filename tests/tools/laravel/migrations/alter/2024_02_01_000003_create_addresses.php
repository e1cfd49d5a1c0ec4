<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up()
    {
        Schema::create('addresses', function (Blueprint $table) {
            $table->id();
            $table->foreignId('user_id')->index()->constrained()->cascadeOnDelete();
            // A varchar with a check.
            $table->enum('country', ['de', 'gb'])->default('gb');
            $table->text('line');
        });

        DB::table('users')->where('age', '<', 18)->update(['status' => 'minor', 'locale' => 'de']);
        DB::table('users')->where('status', 'active')->chunkById(300, function ($users) {
            DB::table('users')->whereIn('id', $users->pluck('id'))->update(['phone' => DB::raw("'+' || id")]);
        });
        DB::table('addresses')->insertUsing(
            ['user_id', 'country', 'line'],
            DB::table('users')->selectRaw("id, case locale when 'de' then 'de' else 'gb' end, name")
                ->where('status', '<>', 'minor')
        );
    }
};
