"""Uplink, downlink and latency between two ends, measured."""
