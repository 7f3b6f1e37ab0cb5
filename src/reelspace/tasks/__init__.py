"""Questions answered over stored vectors."""
