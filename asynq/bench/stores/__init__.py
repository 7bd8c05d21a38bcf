"""The stores that the measured systems use, with their calibrations."""
