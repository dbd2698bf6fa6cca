"""Plans that keep a budget on the mean wait, without shared links.

`limit` keeps it for given ranks. For shared ranks `search` branches on round times and prefix
sums (`parts`), each bound by a dynamic program (`relax`) at the best `price` of own time and
finished by `labels`; `shaped` is the bound where ranks must rise.
"""
