"""The `legend` command: heeds Ctrl-C from the first moment on, then opens the front door."""

import atexit
import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]


def _stop(*_: object) -> NoReturn:
    """End at once: imports lose or show a `KeyboardInterrupt`, and nothing has begun."""
    # A line of its own, behind the ^C that a terminal shows.
    os.write(2, b"\nlegend: stopped by the user\n")
    os._exit(130)


def main() -> None:
    """Run the command line; see `frontdoor`, which is imported when Ctrl-C is taken care of."""
    before = signal.getsignal(signal.SIGINT)
    # Else whoever started this in the background lets it ignore Ctrl-C.
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
        atexit.register(signal.signal, signal.SIGINT, _stop)
    try:
        from frontdoor import open_door

        open_door()
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        # Under `python -m` Python lets the signal kill it where a class was being made.
        if ended.code == 130:
            sys.stdout.flush()
            os._exit(130)
        raise
