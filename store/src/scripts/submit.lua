-- Accepts tasks: all of them or none.
--
-- ARGV: most queued tasks, most recent ids, lifetime of idempotency keys in seconds, number of groups, the
-- tenant of all ('' for the default one), its share, its quotas (nothing where its use is not counted); for each group its class and priority; for each task its id, the record after the time, its arguments
-- (empty where they are a blob), its group, and either nothing or `<delay ms> <body hash> <idempotency key>`.
-- A task whose id is known was accepted before and its answer lost: it is passed over.
-- Returns: 'accepted' and, for each task that has an older one's id, its place and that id; or
-- 'conflict', the key and its task; or 'full' and how many are queued; or what `use_quota` says.
return submit(ARGV)
