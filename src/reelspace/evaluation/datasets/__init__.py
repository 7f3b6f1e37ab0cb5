"""The datasets of the field, in the layouts their evaluators read."""
