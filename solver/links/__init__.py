"""Plans for devices that share links, with or without a budget on the mean wait.

`graph` is the links and what keeps them busy, `said` what a plan tells of them. A plan is found
in the same few steps for every structure of ranks (docs/links.md has the mathematics):

- `plan` asks for a whole problem, `search` for one window of round times (`times`), and
  `window` does what the structure needs there; `best` is what they hand on.
- At prices of the links every device answers alone: `own` ranks, `shared` ones (with `band`,
  and `packed` behind each access link), `capped` ones. Prices give a bound.
- The answers are options (`pool`); `mix` finds the best mix of them by a linear program, and
  `round` (or `settle`, where much binds at once) makes one option a device of it. `polish` and
  `blend` look for better ranks nearby; `few` tries everything where there is little.
- Capped ranks are bound by `copies` for groups of devices that want alike (`alike`, `groups`,
  `sums`), moved by `descent`.
- With a budget on the mean wait round times are searched as well: `branch` for shared ranks (of
  `part`, `node`, `lines`, `ascent`), `own_rounds`, and `capped_rounds` with `capped_wait` and
  `capped_window`. `shortest` names the least wait where no plan keeps the budget.
- `spread` is for ranks that take bytes beside their parameters, such as scales of a codec.
"""
