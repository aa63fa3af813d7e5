"""The drawn world behind int8cal demo: its data sets, its two networks, and what calibration does to them."""
