"""A plan and its runs as one page to look at."""
