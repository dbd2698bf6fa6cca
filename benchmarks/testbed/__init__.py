"""A testbed in a box: processes as devices, each with a link, a processor and a memory limit.

Needs root, Linux, iproute2 and util-linux; see docs/testbed.md.
"""
