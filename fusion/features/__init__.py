"""Network input (observations as feature channels on a time grid) and calibration of the network's uncertainty."""
