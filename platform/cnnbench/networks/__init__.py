"""Networks as a study builds them, and what is known of each: cost, layers, receptive field."""
