"""Turns videos into vectors, and vectors into answers."""
