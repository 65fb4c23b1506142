"""Data sets, splits, augmentation, batches. Images are decoded once into uint8 tensors; no Ray, MLflow or Optuna."""
