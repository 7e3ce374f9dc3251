"""gather, realise, detect: labels arrive, become outcomes, and show how good the champion really is."""
