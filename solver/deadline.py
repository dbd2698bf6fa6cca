"""A time limit that the user gave, and whether it has cut a search short.

A limit is a scope, as `move_on_after` of trio is: searches within it ask `expired()` between
two steps and hand back what they have. Without a scope nothing ever expires and the work is
bounded by counts alone, so that the plan does not depend on the machine's speed.

Examples
--------
>>> with within(0.0) as clock:
...     expired(), clock.left_s()
(True, 0.0)
>>> clock.cut_short
True
>>> expired()
False
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from profiler.schema import InputError


@dataclass(slots=True)
class Clock:
    """A limit that runs.

    Parameters
    ----------
    end_s : float
        When it ends, in `time.monotonic`; infinite for never.
    cut_short : bool
        Whether a search has found the time to be up.
    """

    end_s: float
    cut_short: bool = False

    def left_s(self) -> float:
        """Seconds until it ends, 0 or more."""
        return max(0.0, self.end_s - time.monotonic())

    def expired(self) -> bool:
        """Whether the time is up; notes that somebody was told so."""
        if self.end_s < math.inf and self.left_s() <= 0:
            self.cut_short = True
            return True
        return False

    def cut(self) -> None:
        """Note that something ended early for want of time, if there is a limit."""
        self.cut_short |= self.end_s < math.inf


_CLOCK: ContextVar[Clock] = ContextVar("clock")


@contextmanager
def within(seconds: float | None) -> Iterator[Clock]:
    """Limit what is done in the scope to some seconds; None limits nothing.

    A scope inside another ends with it at the latest.
    """
    if seconds is not None and not 0 <= seconds < math.inf:
        raise InputError(f"time limit is {seconds} s; expected 0 or more, and finite")
    outer = current()
    end_s = outer.end_s if seconds is None else time.monotonic() + seconds
    clock = Clock(min(outer.end_s, end_s))
    token = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(token)
        # What was cut short within is cut short for whoever waits outside.
        outer.cut_short |= clock.cut_short


def current() -> Clock:
    """Return the innermost limit, or one that never ends."""
    return _CLOCK.get(Clock(math.inf))


def expired() -> bool:
    """Whether the time is up: hand back the best so far."""
    return current().expired()
