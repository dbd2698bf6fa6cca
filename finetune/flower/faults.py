"""What went wrong on a node, in one line."""

import re

from flwr.app import Message

__all__ = ["reason_of"]

RAISED = re.compile(r"<class '(?P<kind>[\w.]+)'>:<'(?P<text>.*)'>", re.DOTALL)
MOST = 300


def reason_of(reply: Message) -> str:
    """Error of a reply that has one, without Flower's wrapping; ours speak for themselves."""
    reason = " ".join(str(reply.error.reason or f"error {reply.error.code}").split())
    if found := RAISED.fullmatch(reason):
        kind = found["kind"].rpartition(".")[2]
        reason = found["text"] if kind == "InputError" else f"{kind}: {found['text']}"
    return reason[:MOST]
