"""serving: the gateway that answers users with the registered models."""
