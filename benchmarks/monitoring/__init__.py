"""Measured promises of the monitors."""
