"""Benchmarks: each compares this software with another way to the same result, and says how much faster it is."""
