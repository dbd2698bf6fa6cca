"""Files that ``legend export --to nvflare`` puts into a job; they run where NVFlare runs."""
