"""register, approve, roll back, reproduce: how a candidate becomes the champion, and what is kept of it."""
