"""The commands `profile` and `fleet`, and parts of them, loaded when called."""
