"""protocols: how clients speak to the gateway; bytes in, rows out, and back."""
