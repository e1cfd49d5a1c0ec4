-- Results into variables, and conditions.
SELECT aid AS found, abalance FROM pgbench_accounts WHERE bid = :bid LIMIT 1 \gset first_
SELECT :first_found + 1 AS b, 3 AS c \gset
\if :first_found > 0
SELECT tbalance FROM pgbench_tellers WHERE tid = :bid \aset
\else
SELECT 1/0;
\endif
