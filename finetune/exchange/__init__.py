"""What server and devices send each other, and how little of it is believed."""
