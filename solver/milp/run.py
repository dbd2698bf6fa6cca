"""Solve a PuLP model in a process of its own, which is killed when its time is up.

Solvers overrun their own time limits and take the whole process down when they crash, so
none of them runs in ours. This file is both ends: `run` starts itself as a script, sends the
model as JSON on stdin and reads the answer as JSON from stdout. It imports nothing else of
this package.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

Backend = Literal["highs", "cbc"]
Status = Literal["optimal", "feasible", "infeasible", "unknown"]

# Tightest that HiGHS and CBC take; rows and objective are scaled to about 1.
FEASIBILITY = 1e-9
# How HiGHS ends when a limit stops it: with a plan or without, its bound holds.
LIMITED = ("kTimeLimit", "kIterationLimit", "kSolutionLimit", "kInterrupt")
# What the solver may use of the time limit: the rest starts it and reads it out.
SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a solver says, none of it checked.

    Parameters
    ----------
    status : str
        'optimal' only if the solver proved it, 'feasible' if it stopped with a solution.
    values : dict of str to float
        Variables by name, zeros left out; empty without a solution.
    bound : float or None
        Proven bound on the objective, with a solution or before there is one; None if the
        solver tells none.
    """

    status: Status
    values: dict[str, float] = field(default_factory=dict)
    bound: float | None = None


def run(
    program: Any, backend: Backend, time_limit_s: float, nodes: int | None = None
) -> Answer | None:
    """Solve a ``pulp.LpProblem`` elsewhere.

    Parameters
    ----------
    program : pulp.LpProblem
    backend : {'highs', 'cbc'}
    time_limit_s : float
        Wall clock from here to the answer.
    nodes : int, optional
        Most nodes of the search.

    Returns
    -------
    Answer or None
        None if the process was killed or fell over: nothing is known then.
    """
    began_s = time.monotonic()
    # msgspec writes dataclasses as they are, many times faster than PuLP's own way.
    model = msgspec.Raw(msgspec.json.encode(program.toDataclass()))
    left_s = time_limit_s - (time.monotonic() - began_s)
    if left_s <= 0:
        return None
    request = {
        "model": model,
        "backend": backend,
        "time_limit_s": SHARE * left_s,
        "nodes": nodes,
    }
    with (
        tempfile.TemporaryDirectory(prefix="legend-milp-") as folder,
        subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": folder, "TMP": folder},
            start_new_session=True,
        ) as process,
    ):
        try:
            reply, _ = process.communicate(msgspec.json.encode(request), left_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
    lines = reply.splitlines()
    if process.returncode != 0 or not lines:
        return None
    return Answer(**json.loads(lines[-1]))


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and those it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _serve() -> None:
    request = json.load(sys.stdin)
    answer = _solve(**request)
    print(json.dumps(asdict(answer)))


def _solve(
    model: dict[str, Any], backend: Backend, time_limit_s: float, nodes: int | None
) -> Answer:
    import pulp

    _, program = pulp.LpProblem.fromDict(model)
    try:
        program.solve((_highs if backend == "highs" else _cbc)(time_limit_s, nodes))
    except pulp.PulpSolverError:
        return Answer(status="unknown")
    except KeyError:
        # PuLP has no word for HiGHS's limit on nodes, and by then has read the values.
        if backend != "highs":
            raise
    status = _cbc_status(program) if program.solverModel is None else _highs_status(program)
    if status not in ("optimal", "feasible"):
        return Answer(status=status, bound=_limited_bound(program))
    return Answer(
        status=status,
        values={v.name: v.varValue for v in program.variables() if v.varValue},
        bound=_bound(program, status),
    )


def _highs(time_limit_s: float, nodes: int | None) -> Any:
    import pulp

    limits = {} if nodes is None else {"mip_max_nodes": nodes}
    return pulp.HiGHS(
        msg=False,
        timeLimit=time_limit_s,
        gapRel=0.0,
        gapAbs=0.0,
        mip_feasibility_tolerance=FEASIBILITY,
        primal_feasibility_tolerance=FEASIBILITY,
        dual_feasibility_tolerance=FEASIBILITY,
        **limits,
    )


def _cbc(time_limit_s: float, nodes: int | None) -> Any:
    import cbcbox
    import pulp

    tolerances = [f"{kind}Tolerance {FEASIBILITY}" for kind in ("primal", "dual", "integer")]
    return pulp.COIN_CMD(
        path=str(Path(cbcbox.cbc_bin_path())),
        msg=False,
        timeLimit=time_limit_s,
        maxNodes=nodes,
        gapRel=0.0,
        gapAbs=0.0,
        # Unless told, CBC passes over solutions that are better by less than 1e-5. Its scaling
        # made it call a relaxation solved 7e-6 short of its optimum; ours suffices.
        options=[*tolerances, f"increment {FEASIBILITY}", "scaling off"],
    )


def _cbc_status(program: Any) -> Status:
    """Read both of PuLP's statuses: a solve stopped by its limit calls itself optimal."""
    import pulp

    if program.status == pulp.LpStatusInfeasible:
        return "infeasible"
    if program.status != pulp.LpStatusOptimal:
        return "unknown"
    if program.sol_status == pulp.LpSolutionOptimal:
        return "optimal"
    return "feasible" if program.sol_status == pulp.LpSolutionIntegerFeasible else "unknown"


def _highs_status(program: Any) -> Status:
    """Ask HiGHS itself: PuLP knows fewer ways to end."""
    highs = program.solverModel
    ended = highs.getModelStatus().name
    if ended in ("kInfeasible", "kUnboundedOrInfeasible"):
        return "infeasible"
    # 2 is HiGHS's kSolutionStatusFeasible; without it the values are not a solution.
    if int(highs.getInfo().primal_solution_status) != 2:
        return "unknown"
    if ended == "kOptimal":
        return "optimal"
    return "feasible" if ended in LIMITED else "unknown"


def _bound(program: Any, status: Status) -> float | None:
    import pulp

    highs = program.solverModel
    if highs is not None and program.isMIP():
        bound = float(highs.getInfo().mip_dual_bound)
        # PuLP hands HiGHS a maximisation as the minimisation of its negative.
        bound = -bound if program.sense == pulp.LpMaximize else bound
        return bound if abs(bound) < 1e30 else None
    return float(pulp.value(program.objective)) if status == "optimal" else None


def _limited_bound(program: Any) -> float | None:
    """Bound of a search that a limit ended before it had a solution."""
    highs = program.solverModel
    if highs is None or highs.getModelStatus().name not in LIMITED:
        return None
    return _bound(program, "unknown")


if __name__ == "__main__":
    _serve()
