"""features: how contract columns become model inputs and labels; the same code trains and serves."""
