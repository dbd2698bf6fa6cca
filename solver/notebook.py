"""Plans as notebooks show them: what the command prints."""

import io

from rich.console import Console

from solver.plan import Plan
from solver.show.plans import plan_view

__all__ = ["plan_html"]

# Characters beside each other in a cell of a notebook.
_WIDTH = 140
_CELL = '<pre style="line-height:1.2;white-space:pre;overflow-x:auto">{code}</pre>'


def plan_html(plan: Plan) -> str:
    """A plan as `legend solve` prints it, as a fragment of HTML without a script."""
    console = Console(width=_WIDTH, record=True, file=io.StringIO(), markup=False, emoji=False)
    console.print(plan_view(plan, _WIDTH))
    return console.export_html(inline_styles=True, code_format=_CELL)
