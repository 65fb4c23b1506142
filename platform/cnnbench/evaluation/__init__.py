"""How good a trained network is: loss, accuracy, confusion, scores per class. No Ray, MLflow or Optuna."""
