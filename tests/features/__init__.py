"""How columns become inputs and labels, and how a model is kept."""
