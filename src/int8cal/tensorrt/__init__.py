"""What TensorRT and DeepStream read: calibration caches, calibrators, keys."""
