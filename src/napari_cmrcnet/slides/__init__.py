"""Slides: pyramids of tiles that are read when looked at, whatever file they come from, and patches cut from them."""
