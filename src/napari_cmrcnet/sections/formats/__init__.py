"""One module for each source of spots."""
