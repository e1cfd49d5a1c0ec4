<?php

// A failure is printed; nothing else is to be written.
return [
    'default' => 'none',
    'channels' => ['none' => ['driver' => 'monolog', 'handler' => Monolog\Handler\NullHandler::class]],
];
