SELECT w.wal_bytes::pg_catalog.int8 AS bytes, w.wal_fpi AS full_page_images, w.wal_buffers_full AS buffers_full
  FROM pg_catalog.pg_stat_wal w
/* pgassay */
