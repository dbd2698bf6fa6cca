"""A Flower app's folder: settings, and code that only names what is in this package."""

from finetune.flower.settings import Settings, to_config, toml
from finetune.options import RunOptions

__all__ = ["app_files"]

PYPROJECT = """\
# A Flower app made by `legend`; run it with `flwr run`. Its code is in the package
# legend-planner, which server and devices need: pip install 'legend-planner[flower]'.
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "legend-app"
version = "1.0.0"
description = "Federated LoRA as planned by LEGEND"
license = "Apache-2.0"
dependencies = []

[tool.hatch.build.targets.wheel]
packages = ["legend_app"]

[tool.flwr.app]
publisher = "legend"

[tool.flwr.app.components]
serverapp = "legend_app.server:app"
clientapp = "legend_app.client:app"

# An empty text is: not set.
[tool.flwr.app.config]
{config}
"""

SERVER = '''\
"""The server's side: sends each device its layers and ranks, joins what comes back."""

from pathlib import Path

from finetune.flower.serverapp import make_app

app = make_app(Path(__file__).resolve().parent.parent)
'''

CLIENT = '''\
"""A device's side: trains on its own data as it is ordered."""

from finetune.flower import clientapp

app = clientapp.app
'''


def app_files(settings: Settings, options: RunOptions) -> dict[str, bytes]:
    """Content of every file, by its path in the folder."""
    values = to_config(settings, options)
    config = "\n".join(f"{name} = {toml(value)}" for name, value in values.items())
    texts = {
        "pyproject.toml": PYPROJECT.format(config=config),
        "legend_app/__init__.py": '"""A Flower app made by `legend`."""\n',
        "legend_app/server.py": SERVER,
        "legend_app/client.py": CLIENT,
    }
    return {name: text.encode() for name, text in texts.items()}
