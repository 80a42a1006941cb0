"""Synthetic sections, for the sample, the tests and a first try."""
