"""The training loop and what it needs: PyTorch alone, from torch 2.11 on. No Ray, MLflow, Optuna or pydantic."""
