-- Add a record to its index. If it is new there, prune records that expired long ago.
-- flags: allow-oom
-- KEYS: index neighbour
-- ARGV: ends pruned member
--   ends: Unix seconds at which the record expires. pruned: Unix seconds; records that expired by then are removed.
-- answers: nothing
-- @include arguments present

present(key(), arg(), arg(), arg())
