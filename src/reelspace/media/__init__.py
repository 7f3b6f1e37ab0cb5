"""From a file to pictures with the second they are shown at."""
