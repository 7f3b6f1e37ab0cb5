"""From pictures to vectors."""
