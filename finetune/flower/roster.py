"""Which SuperNode is which device of the plan: every node is asked once."""

import time
from collections.abc import Callable, Collection, Iterable

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from finetune.flower.envelope import pack, unpack
from finetune.flower.faults import reason_of
from finetune.flower.orders import Card, decode
from solver.plan import InputError

__all__ = ["Roster"]

POLL_S = 0.3
ASK_AGAIN_S = 60.0


class Roster:
    """The devices that are connected, and the nodes they are.

    Parameters
    ----------
    grid : Grid
        Flower's way to the nodes.
    known : collection of str
        Every device of the plan.
    needed : collection of str
        Those that take part.
    say : callable
        Takes a line about a node that is left out.
    """

    def __init__(
        self,
        grid: Grid,
        known: Collection[str],
        needed: Collection[str],
        say: Callable[[str], None],
    ) -> None:
        self._grid = grid
        self._known = frozenset(known)
        self._needed = list(needed)
        self._say = say
        self._devices: dict[int, str] = {}
        # By node, what it said it is; empty where it is no device at all.
        self._refused: dict[int, str] = {}
        self._asked: dict[str, tuple[int, float]] = {}

    def gather(self, wait_s: float, pause: Callable[[float], None] = time.sleep) -> None:
        """Wait for every device that takes part.

        Raises
        ------
        InputError
            If a node is no device of the plan, two are the same, or one is missing after
            `wait_s`.
        """
        until = time.monotonic() + wait_s
        while missing := [name for name in self._needed if name not in self.nodes()]:
            if refused := self._refresh():
                raise InputError(refused[0])
            if time.monotonic() > until:
                raise InputError(_missing(missing, wait_s))
            pause(POLL_S)

    def nodes(self) -> dict[str, int]:
        """Node of every connected device, as last seen."""
        return {device: node for node, device in self._devices.items()}

    def refresh(self) -> dict[str, int]:
        """Look who has come or gone; return the node of every connected device.

        A node that comes in the middle of a run is asked who it is, without waiting for it;
        one that is refused then is only named.
        """
        for line in self._refresh():
            self._say(line)
        return self.nodes()

    def _refresh(self) -> list[str]:
        """Forget nodes that are gone, hear answers, ask new nodes; say why any is refused."""
        online = set(self._grid.get_node_ids())
        gone = {name for n, name in self._devices.items() if n not in online}
        self._devices = {n: name for n, name in self._devices.items() if n in online}
        # A SuperNode started anew is there before Flower misses the one that it replaces.
        self._refused = {n: name for n, name in self._refused.items() if name not in gone}
        refused = [line for reply in self._replies() if (line := self._enter(*reply))]
        waiting = {node for node, _ in self._asked.values()}
        self._ask(online - self._devices.keys() - self._refused.keys() - waiting)
        return refused

    def _ask(self, nodes: Iterable[int]) -> None:
        messages = [Message(pack(""), node, MessageType.QUERY) for node in sorted(nodes)]
        sent = (
            zip(messages, self._grid.push_messages(messages), strict=True) if messages else ()
        )
        for message, key in sent:
            self._asked[key] = (message.metadata.dst_node_id, time.monotonic())

    def _replies(self) -> list[tuple[int, Message]]:
        """Answers that have come; a question that nobody answers is asked again later."""
        found = []
        for reply in self._grid.pull_messages(list(self._asked)) if self._asked else ():
            node, _ = self._asked.pop(reply.metadata.reply_to_message_id)
            found.append((node, reply))
        now = time.monotonic()
        self._asked = {k: v for k, v in self._asked.items() if now - v[1] < ASK_AGAIN_S}
        return found

    def _enter(self, node: int, reply: Message) -> str | None:
        """Note a node's device, or say why it is refused."""
        device = ""
        try:
            if reply.has_error():
                raise InputError(reason_of(reply))
            device = decode(unpack(reply)[0], Card).device
        except InputError as error:
            problem = f"SuperNode {node}: {error}"
        else:
            problem = self._objection(node, device)
            if not problem:
                self._devices[node] = device
                return None
        self._refused[node] = device
        return problem

    def _objection(self, node: int, device: str) -> str:
        if device not in self._known:
            return (
                f"SuperNode {node} says it is device '{device}', which is not in the plan; "
                "correct its --node-config, or plan for it"
            )
        if device in self._devices.values():
            return (
                f"SuperNode {node} says it is device '{device}', as another does already; "
                "stop one of them, or correct its --node-config"
            )
        return ""


def _missing(names: list[str], wait_s: float) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"no SuperNode has come for {shown}{more} within {wait_s:.0f} s; start one with "
        f"--node-config 'device=\"{names[0]}\" ...', or wait longer with --wait-s"
    )
