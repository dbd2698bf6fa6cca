"""The planning problem as a mixed-integer program: the oracle, and the escape hatch.

- `solve`: asks a general solver, in one of two forms, and believes none of its answers.
- `model`: the form for any costs, of the variables in `build` and the rows in `ranks`,
  `limits` and `links`. `arcs`: the form for proportional costs, which does not know how many
  devices there are.
- `run`: the solver's own process.
"""
