"""validate: deliveries are held against the contract; what breaks it goes no further."""
