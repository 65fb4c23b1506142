"""What is decided: plan, phases, records, freeze, controls, variants, verdict, price. No Ray."""
