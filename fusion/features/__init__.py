"""What the network is fed: observations on a time grid as feature channels, and the calibration of its answer."""
