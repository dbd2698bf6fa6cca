"""Why there is no plan, or none better: who lacks what, what binds, and the cheapest repair."""
