"""Models that can be had: recipes to build them from public data, checkpoints as one file, and the user's folder."""
