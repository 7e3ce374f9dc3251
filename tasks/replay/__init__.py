"""History that happens again: its rows, with what was planted in them, as they come week by week."""
