"""A study's finished runs as tables, replicates and estimates."""
