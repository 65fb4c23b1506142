"""Everything that knows Ray or Optuna: search, finals, the two adapters that run a trial, the cluster."""
