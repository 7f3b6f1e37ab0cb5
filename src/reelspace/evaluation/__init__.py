"""Is it any good? Datasets, metrics, and the reports that say so."""
