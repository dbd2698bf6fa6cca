"""The dynamic program over depth and prefix sum, which every method for shared ranks runs on.

`tables` fills it, `values` are its values and the way back to the ranks, `completions` runs it
from the far end; `shared` asks for the best ranks, of `small` problems in three calls a layer.
`rising` is its form for ranks that never fall towards the output.
"""
