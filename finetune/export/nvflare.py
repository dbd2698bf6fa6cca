"""A plan as a job that NVIDIA FLARE submits or simulates.

Written for NVFlare 2.9: ``nvflare simulator JOB -w WORKSPACE -c SITE,SITE`` or a submitted job.
Each adapter shape is an app of its own, deployed to its sites; sites are named as the plan's
devices. The server's app brings an aggregation that takes adapters of other depths and ranks
(`nvflare_app.legend_server`), which NVFlare's own does not.
"""

import re
from collections import Counter
from pathlib import Path

from finetune.export.files import Export, json_bytes
from finetune.export.peft import lora_config
from solver.plan import InputError, Plan, PlannedDevice

__all__ = ["render"]

ROUNDS = 10
APP = Path(__file__).parent / "nvflare_app"
CLIENT_FILES = ("legend_client.py", "local_training.py")
SERVER_FILES = ("legend_server.py", "legend_mean.py")
SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def render(plan: Plan) -> Export:
    """Write the job: ``meta.json``, ``app_server`` and an app for each adapter shape.

    Raises
    ------
    InputError
        If a device's name cannot be a site's, or two would be the same, or nobody takes part.
    """
    _check_names(plan)
    apps = {f"app_configuration-{i}": _sites(plan, i) for i in range(len(plan.configurations))}
    apps = {app: sites for app, sites in apps.items() if sites}
    count = sum(len(sites) for sites in apps.values())
    if not count:
        raise InputError("no device of the plan takes part, so there is no job to write")
    files = {
        "meta.json": json_bytes(
            {
                "name": "legend",
                "resource_spec": {},
                "min_clients": count,
                "deploy_map": {
                    "app_server": ["server"],
                    **{a: list(s) for a, s in apps.items()},
                },
            }
        ),
        **_server_files(count),
    }
    for app, sites in apps.items():
        files.update(_client_files(plan, app, sites))
    idle = sum(d.count for d in plan.devices if d.configuration is None)
    notes = [
        "each site sets LEGEND_MODEL and LEGEND_DATA, or brings its own local_training.py",
        f"rounds are {ROUNDS}: num_rounds in app_server/config/config_fed_server.json",
    ]
    return Export(
        files=files, notes=[*notes, *([f"{idle} devices do not take part"] * bool(idle))]
    )


def _sites(plan: Plan, index: int) -> dict[str, PlannedDevice]:
    """Sites of a shape by name."""
    sharing = [device for device in plan.devices if device.configuration == index]
    return {name: device for device in sharing for name in _names(device)}


def _names(device: PlannedDevice) -> list[str]:
    """Names of the sites that a device is: one that stands for several is as many."""
    if device.count == 1:
        return [device.name]
    return [f"{device.name}-{i}" for i in range(1, device.count + 1)]


def _check_names(plan: Plan) -> None:
    """Refuse names that NVFlare does not take, or that two sites would have."""
    taking_part = [device for device in plan.devices if device.configuration is not None]
    for name, times in Counter(name for d in taking_part for name in _names(d)).items():
        if not SITE.fullmatch(name) or name == "server":
            raise InputError(
                f"device '{name}' cannot be the name of an NVFlare site; expected letters, "
                "digits, '_', '.' and '-', and not 'server'"
            )
        if times > 1:
            raise InputError(
                f"{times} devices would be NVFlare site '{name}', as one that stands for "
                "several is numbered; rename one of them in the fleet"
            )


def _server_files(clients: int) -> dict[str, bytes]:
    workflow = {
        "id": "controller",
        "path": "legend_server.LegendFedAvg",
        "args": {"num_clients": clients, "num_rounds": ROUNDS},
    }
    config = {"format_version": 2, "workflows": [workflow], "components": []}
    return {
        "app_server/config/config_fed_server.json": json_bytes(config),
        **{f"app_server/custom/{name}": (APP / name).read_bytes() for name in SERVER_FILES},
    }


def _client_files(plan: Plan, app: str, sites: dict[str, PlannedDevice]) -> dict[str, bytes]:
    executor = {
        "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
        "args": {
            "execution_mode": "in_process",
            "task_script_path": "legend_client.py",
            "params_exchange_format": "numpy",
        },
    }
    config = {
        "format_version": 2,
        "executors": [{"tasks": ["*"], "executor": executor}],
        "components": [],
    }
    shape = plan.configuration_of(next(iter(sites.values())))
    said = {
        name: {
            "local_steps": device.local_steps,
            "examples": device.examples,
            "batch_size": plan.training.batch_size,
            "head_modules": plan.model.head_modules,
        }
        for name, device in sites.items()
    }
    training = plan.training
    settings = {
        "task": training.task,
        "labels": training.labels,
        "sequence_length": training.sequence_length,
    }
    adapter = lora_config(plan, shape) if shape is not None and shape.depth else None
    return {
        f"{app}/config/config_fed_client.json": json_bytes(config),
        f"{app}/custom/adapter_config.json": json_bytes(adapter),
        f"{app}/custom/sites.json": json_bytes(said),
        f"{app}/custom/training.json": json_bytes(settings),
        **{f"{app}/custom/{name}": (APP / name).read_bytes() for name in CLIENT_FILES},
    }
