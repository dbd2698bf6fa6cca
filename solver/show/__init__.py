"""What people read: plans, comparisons, prices and questions as tables, words and pictures."""
