"""The dock panels: they forward to the session and draw from it, and hold no numerics."""
