"""The nouns: plain values, numpy at most. Nothing here reads a file or knows a model."""
