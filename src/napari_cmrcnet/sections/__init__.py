"""Slide and spots in: what a Section is."""
