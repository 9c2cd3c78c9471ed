"""Training with Lightning: settings, module, calibration, tracking, export."""
