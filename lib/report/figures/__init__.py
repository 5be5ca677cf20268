"""One family of figures a file. Each function takes data and returns a matplotlib Figure; ``style.save`` writes it."""
