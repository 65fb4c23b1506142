"""Where it runs: the session, Tune, DDP, the cluster and what is shared of it. Ray is imported here alone."""
