"""A plan as a Flower app: ``flwr run`` executes the folder as it is.

The app's code only names what is in `finetune.flower`, so server and devices need this package
with its extra ``flower``. The plan stays in the app; a device is sent its own part of it with
every order. Written without Flower or torch.
"""

from finetune.devices import participants
from finetune.export.files import Export, json_bytes
from finetune.flower.app import app_files
from finetune.flower.settings import Settings
from finetune.options import RunOptions
from solver.plan import Plan

__all__ = ["render"]

MOST_PLAN_BYTES = 9 * 2**20

README = """\
# A Flower app for this plan

Made by `legend export --to flower`. Server and devices need
`pip install 'legend-planner[flower]'`.

1. On the server: `flower-superlink --disable-runtime-dependency-installation`, with
   certificates, keys and a firewall as docs/flower.md of legend-planner says; `--insecure` on
   loopback only.
2. On each device, with its own model folder and its own examples:

       flower-supernode --superlink HOST:8000 --root-certificates ca.crt \\
           --auth-supernode-private-key {device}.key \\
           --node-config 'device="{device}" model="/models/base" data="/data/own.csv"'

3. `flwr run . NAME --stream --run-config 'model="/models/base" data="/data/test.csv"
   out="/runs/first"'`, all three on the server; `data` are its test examples, and NAME is the
   SuperLink in Flower's config.toml.

The devices that take part: {devices}.
"""


def render(plan: Plan) -> Export:
    """Write ``pyproject.toml``, the app's package, ``plan.json`` and ``README.md``."""
    names = [device.name for device in participants(plan)]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    readme = README.format(device=names[0], devices=shown)
    data = json_bytes(plan)
    notes = ["model, data and out are to be given with flwr run --run-config; see README.md"]
    if len(data) > MOST_PLAN_BYTES:
        notes.append(
            f"plan.json has {len(data)} bytes; Flower takes 10 MB in an app: put it on the "
            "server and name it in full as plan in the run configuration"
        )
    return Export(
        files={
            **app_files(Settings(), RunOptions()),
            "plan.json": data,
            "README.md": readme.encode(),
        },
        notes=notes,
    )
