"""The library on disk: LanceDB tables, the ledger, and the mapped arrays that exact search runs over.

Import what you need from the modules; this package imports nothing, so that it costs nothing.
"""
