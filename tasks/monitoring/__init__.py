"""The monitors of the prediction log: each holds a window, or every hour, against the champion's reference."""
