"""Training of the project's own models; needs torch (`pip install reelspace[gpu]`)."""
