"""Is it right? Scores and pictures of predictions beside measurements."""
