"""What the class indices of labelled text stand for."""

from collections.abc import Sequence

import pandas as pd

from profiler.files import InputError

__all__ = ["class_names"]


def class_names(columns: Sequence["pd.Series[str]"], classes: int) -> list[str]:
    """Names of the classes in the order of their index.

    Whole numbers from 0 to below `classes` keep theirs; other labels are sorted.

    Parameters
    ----------
    columns : sequence of Series of str
        Label columns of one name, such as of training and test examples.
    classes : int
        Labels that the model is for.

    Raises
    ------
    InputError
        If there are fewer than 2 labels, or more than the model is for.
    """
    name = columns[0].name
    seen = sorted({value.strip() for column in columns for value in column})
    if len(seen) < 2:
        raise InputError(f"column '{name}' holds only '{seen[0]}'; expected 2 or more labels")
    integers = [str(i) for i in range(classes)]
    if set(seen) <= set(integers):
        return integers
    if len(seen) > classes:
        raise InputError(
            f"column '{name}' holds {len(seen)} labels; the model is profiled for {classes}. "
            f"Profile it with --labels {len(seen)}, or merge labels"
        )
    return seen
