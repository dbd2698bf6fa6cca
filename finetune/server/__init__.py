"""The server's round: ask devices, take their answers, join them, step along the change."""
