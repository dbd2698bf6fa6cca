"""Local training: what a device does in a round, and engines that simulate devices here."""
