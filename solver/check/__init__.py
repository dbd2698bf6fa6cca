"""The independent check of a plan: believe nothing in it, work everything out again.

Three questions, each in modules of plain Python that share no line with the solvers (an import
contract holds them to that): does the plan answer for this fleet and keep the structure it
names (`shape`), are its figures those of the cost model (`costs`, `caches`, `links`), and do
the limits (`verdict`), what is said of them (`binding`) and the certificate (`certificate`)
hold. The bound itself is a claim of the method that the certificate names; what is checked is
that value, bound, gap and status agree with each other and with the recomputed plan, and that
they are of this question and no other (`solver.seal`, the one module that both sides read: a
digest).
"""

from solver.check.finding import Check
from solver.check.verdict import Verdict, check

__all__ = ["Check", "Verdict", "check"]
