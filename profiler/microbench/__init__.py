"""Ten seconds of benchmark on a device, and another device's profile from it."""
