"""From an approval to all users, stage by stage: what is planned, what is found out, and what follows from it."""
