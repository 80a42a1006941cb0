"""The paper's experiments: every method on the same folds, patches and genes; its tables and its figures."""
