"""What is proposed: Optuna's studies, rungs, warm starts, neighbours. No Ray."""
