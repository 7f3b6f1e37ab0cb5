"""Sequences in, offsets and intervals out."""
