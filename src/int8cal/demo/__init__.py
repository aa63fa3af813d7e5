"""The driving-scene data set behind int8cal demo."""
