"""The methods that CMRCNet is compared with, and baselines that any method must beat: one `fit`, one `predict`."""
