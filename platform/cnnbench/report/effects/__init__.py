"""What components and hyperparameters do to accuracy: measured effects, and importances of the search."""
