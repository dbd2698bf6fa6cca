"""Labelled text as people have it: tables whose cells are text, and the names of their classes.

Both gains (`profiler.gain`) and runs (`finetune`) read such files; this package needs no torch.
"""

from profiler.labelled.arrow_folder import data_files, read_folder
from profiler.labelled.classes import class_names
from profiler.labelled.table import FORMATS, read_columns, read_table

__all__ = ["FORMATS", "class_names", "data_files", "read_columns", "read_folder", "read_table"]
