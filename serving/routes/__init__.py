"""routes: who answers, from the registry to each worker."""
