"""What a plan was asked for, in one line for people."""

from solver.question import Budgets, Question
from solver.show.figures import friendly

NO_BUDGETS = "no budgets"


def question_text(asked: Question) -> str:
    """Policy, structure, objective, budgets and what else was chosen."""
    return (
        f"policy {asked.policy}, {_ranks_asked(asked)} · {_aim(asked)}"
        f"{budget_text(asked.budgets)}{_choices(asked)}"
    )


def _ranks_asked(asked: Question) -> str:
    shapes = {"free": "", "rising": ", rising", "progression": ", a progression"}
    deepest = "" if asked.max_depth is None else f", {asked.max_depth} layers at most"
    return f"{asked.structure} ranks{shapes[asked.rank_shape]}{deepest}"


def _choices(asked: Question) -> str:
    """Cache, codecs and what fills waits, where they are asked for."""
    cache = "" if asked.cache == "off" else f" · cache {asked.cache}"
    ways = ((asked.upload_codec, "uploads"), (asked.download_codec, "downloads"))
    codecs = "".join(f" · {codec} {way}" for codec, way in ways if codec != "none")
    fill = "" if asked.fill_wait == 1 else f" · waits filled to {asked.fill_wait:g}x steps"
    return cache + codecs + fill


def _aim(asked: Question) -> str:
    """The objective where it is not the usual one, and its floor."""
    names = {
        "time": "least round time",
        "efficiency": "most utility a second",
        "legend": "as deep as possible",
    }
    if asked.objective not in names:
        return ""
    floor = "" if asked.min_utility is None else f" with utility {asked.min_utility:g} or more"
    return f"{names[asked.objective]}{floor} · "


def budget_text(budgets: Budgets) -> str:
    """The budgets in force, in one line."""
    texts = {
        "round_time_s": lambda v: f"round time {v:g} s",
        "mean_wait_s": lambda v: f"mean wait {v:g} s",
        "upload_bytes": lambda v: f"upload {friendly(v, 'bytes')}",
        "download_bytes": lambda v: f"download {friendly(v, 'bytes')}",
        "energy_j": lambda v: f"energy {friendly(v, 'J')}",
        "rank_budget": lambda v: f"rank budget {v}",
    }
    found = {name: getattr(budgets, name) for name in texts}
    said = [texts[name](value) for name, value in found.items() if value is not None]
    return ", ".join(said) or NO_BUDGETS
