"""The methods that CMRCNet is compared with, and floors that any method must beat: one `fit`, one `predict`."""
