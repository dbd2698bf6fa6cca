"""What holds for all tests."""

from collections.abc import Iterator

import pytest

# How wide a terminal is and whether it has colours, as rich, click and pytest are told.
TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@pytest.fixture(autouse=True, scope="session")
def _no_terminal() -> Iterator[None]:
    """Commands print as they do to a pipe, whatever the terminal of who runs the tests."""
    with pytest.MonkeyPatch.context() as changed:
        for name in TERMINAL:
            changed.delenv(name, raising=False)
        yield
