"""Images and stated numbers as the origin of a plan: calibration data for any model, without a TAO spec."""
