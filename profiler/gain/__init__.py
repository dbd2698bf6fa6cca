"""What a layer and a rank are worth: an analytic default, and measurements on data."""
