"""What deliveries are held to, and what happens to those that break it."""
