"""Sections in, a trained checkpoint out."""
