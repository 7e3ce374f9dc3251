"""The stages of the loop, one room each; plain functions that know nothing of Prefect."""
