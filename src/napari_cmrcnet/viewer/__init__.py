"""What napari shows of a section: the session, and the layers drawn from it. Free of Qt."""
