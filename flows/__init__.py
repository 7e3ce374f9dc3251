"""Prefect lives here and nowhere else: the flows, the steps they are made of, and the commands that start them."""
