"""One training, whole: what it is told and handed, its isolation, its machine, its run. No Ray."""
