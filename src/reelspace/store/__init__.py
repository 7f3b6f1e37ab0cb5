"""The library on disk: LanceDB tables, the schema version, the ledger."""
