"""MLflow: what it is told, how that is shipped, and how studies are read back."""
