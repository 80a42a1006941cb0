"""CMRCNet, the methods that it is compared with, and baselines that all must beat: one `fit`, one `predict`."""
