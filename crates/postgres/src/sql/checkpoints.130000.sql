SELECT c.checkpoints_timed AS timed, c.checkpoints_req AS requested FROM pg_catalog.pg_stat_bgwriter c
/* pgassay */
