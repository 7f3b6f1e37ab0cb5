"""From videos to rows in a library: worker processes decode and encode, one writer stores.

Import from `reelspace.extract.pipeline`; this package imports nothing, so that it costs nothing.
"""
