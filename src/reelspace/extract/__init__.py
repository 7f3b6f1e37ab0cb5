"""Videos in, vectors out: one decode per file, all cores busy."""
