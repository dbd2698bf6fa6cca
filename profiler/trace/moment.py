"""A fleet as it stands at one moment of a trace."""

from msgspec.structs import replace

from profiler.schema import Fleet, InputError, Trace

__all__ = ["fleet_at"]


def fleet_at(fleet: Fleet, trace: Trace, at: float) -> Fleet:
    """Put the devices of a fleet into the state that a trace gives them.

    Parameters
    ----------
    fleet : Fleet
        The devices to begin with; those that the trace does not name stay as they are.
    trace : Trace
    at : float
        Round, counted from 0, or seconds since the start, as the trace counts.

    Returns
    -------
    Fleet
        With the devices that are available, in the order of `fleet`.

    Raises
    ------
    InputError
        If `at` lies outside the trace, nobody is available then, or the trace names a device
        or class that the fleet does not have.

    Notes
    -----
    A trace does not go on by itself: to repeat it, ask for ``at % trace.edges[-1]``.
    """
    end = trace.edges[-1]
    if not 0 <= at < end:
        raise InputError(
            f"{at:g} {trace.unit} lies outside the trace; expected 0 or more, below {end:g}"
        )
    trace.check_names(fleet)
    devices = trace.devices_at(at, fleet)
    if not devices:
        raise InputError(f"no device is available at {at:g} {trace.unit} of the trace")
    return replace(fleet, devices=devices)
