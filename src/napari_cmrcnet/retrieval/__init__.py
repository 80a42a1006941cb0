"""From a trained network to a prediction."""
