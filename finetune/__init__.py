"""Labels, training, prediction, calibration and evaluation."""
