"""The `reelspace` command."""
