"""A federation with one command: SuperLink, SuperNodes where they are local, and the run.

Everything it starts keeps its log in OUT/flower/logs and is gone when it returns, whatever
happens. The run itself is the ServerApp's (`finetune.flower.serverapp`).
"""

from pathlib import Path

from finetune.devices import participants
from finetune.export.files import make_folder
from finetune.flower.app import app_files
from finetune.flower.follow import follow
from finetune.flower.processes import Processes
from finetune.flower.settings import Settings, toml
from finetune.flower.shares import write_shares
from finetune.flower.superlink import (
    LINK,
    SuperLink,
    address_of,
    free_port,
    program,
    start_link,
)
from finetune.flower.supported import check_supported
from finetune.monitor.progress import Progress
from finetune.options import RunOptions
from finetune.run import Sources
from finetune.session.folder import check_folder
from finetune.session.result import Summary
from solver.plan import InputError, Plan, read_plan, write_bytes

__all__ = ["ENVIRONMENT", "SuperLink", "launch"]

MOST_LOCAL = 16
ENVIRONMENT = {
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}


def launch(
    plan_path: Path,
    sources: Sources,
    out: Path,
    options: RunOptions,
    link: SuperLink,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Run a plan on Flower, as `finetune.run.run` does in one process.

    Raises
    ------
    InputError
        If plan, model, data, options, folder or devices do not fit, or Flower fails.
    Stopped
        On Ctrl-C, with the checkpoint and the adapter so far kept.
    """
    progress = progress or Progress()
    plan = read_plan(plan_path)
    check_supported(plan, options)
    host, port = address_of(link)
    _check_count(plan, link)
    if link.node_keys and not link.tls:
        raise InputError("--node-keys needs --tls, as Flower checks keys over TLS only; add it")
    check_folder(out, resume=resume)
    folder = out.resolve() / "flower"
    make_folder(folder)
    settings = _settings(plan_path, sources, out, link, resume=resume)
    for name, data in app_files(settings, options).items():
        (folder / "app" / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / "app" / name, data)
    environment = {**ENVIRONMENT, "FLWR_HOME": str(folder / "home")}
    with Processes(folder / "logs", environment) as processes, progress:
        inner = start_link(processes, link, host, port, folder / "home")
        if not link.address:
            _start_nodes(processes, plan, sources, options, folder, inner)
        command = [program("flwr"), "run", str(folder / "app"), LINK, "--stream"]
        return follow(processes, folder, command, options, progress)


def _settings(
    plan_path: Path, sources: Sources, out: Path, link: SuperLink, *, resume: bool
) -> Settings:
    slack = link.deadline_slack
    if slack is None:
        slack = 1.5 if link.address else 0.0
    return Settings(
        plan=str(plan_path.resolve()),
        model=str(sources.model.resolve()),
        data=str(sources.data.resolve()),
        test_data=str(sources.test.resolve()) if sources.test else "",
        fleet=str(sources.fleet.resolve()) if sources.fleet else "",
        trace=str(sources.trace.resolve()) if sources.trace else "",
        out=str(out.resolve()),
        resume=resume,
        data_is="test" if link.address else "all",
        wait_s=link.wait_s,
        deadline_slack=slack,
    )


def _check_count(plan: Plan, link: SuperLink) -> None:
    """Refuse to start more SuperNodes here than a machine bears."""
    count = len(participants(plan))
    if not link.address and count > MOST_LOCAL:
        raise InputError(
            f"{count} devices take part; a federation on this machine starts at most "
            f"{MOST_LOCAL} SuperNodes. Leave out --engine flower to simulate them, or plan for "
            "fewer"
        )


def _start_nodes(
    processes: Processes,
    plan: Plan,
    sources: Sources,
    options: RunOptions,
    folder: Path,
    port: int,
) -> None:
    """Start a SuperNode for every device, each with its own file of examples."""
    files = write_shares(plan, sources.data, sources.test, options, folder / "data")
    for device in participants(plan):
        config = {
            "device": device.name,
            "model": str(sources.model.resolve()),
            "data": str(files[device.name]),
        }
        command = [program("flower-supernode"), "--insecure"]
        command += ["--superlink", f"127.0.0.1:{port}", "--port", str(free_port())]
        command += ["--node-config", " ".join(f"{k}={toml(v)}" for k, v in config.items())]
        processes.start(f"supernode-{device.position:06d}", command)
