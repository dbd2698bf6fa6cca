"""The page in a real browser: a silent console, no request, nothing cut on a phone."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from finetune.report.answers import read_frontier, read_policies
from finetune.report.page import render
from finetune.report.pictures import Sources
from finetune.report.runs import read_runs
from tests.finetune.plans import make_model, plan_to_show
from tests.finetune.report.answers import write_answers
from tests.finetune.report.pages import run_folder

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-logging=stderr",
    "--hide-scrollbars",
]  # fmt: skip
BROWSERS_OWN = "not an origin"
PROBE = """<!doctype html><body><iframe srcdoc="{page}" style="width:{width}px;height:900px">
</iframe><script>
document.querySelector("iframe").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const small = [...page.querySelectorAll("svg text")].filter(t => {{
    const scale = t.getScreenCTM();
    return Math.hypot(scale.a, scale.b) * parseFloat(getComputedStyle(t).fontSize) < 8;
  }}).length;
  const cut = [...page.querySelectorAll("svg text")].filter(t => {{
    const box = t.getBoundingClientRect(), frame = t.closest("svg").getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1;
  }}).map(t => t.textContent);
  document.body.dataset.wide = root.scrollWidth;
  document.body.dataset.cut = cut.join("|");
  document.body.dataset.small = small;
}};
</script>"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; get it with: apt-get install chromium"
)


class Seen(NamedTuple):
    """What the browser did with a page."""

    dom: str
    console: list[str]
    asked: list[str]


def browse(path: Path, folder: Path) -> Seen:
    """Open a file in a fresh browser and list its console and the requests of the page."""
    assert CHROMIUM is not None
    log = folder / "net.json"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *own, path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    made = [e["params"] for e in events if "method" in e.get("params", {})]
    asked = [p["url"] for p in made if p.get("initiator", "") != BROWSERS_OWN]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(done.stdout, console, asked)


def full_page(folder: Path) -> str:
    """Every section there is, with long names."""
    frontier, compare = write_answers(folder)
    runs = read_runs([run_folder(folder / "run", [0.5, 0.6, 0.7])], [])
    sources = Sources(
        runs=runs, frontier=read_frontier(frontier), policies=read_policies(compare)
    )
    return render(plan_to_show(make_model(name="a-model-of-a-rather-long-name")), sources)


def test_the_browser_tells_what_a_page_does(tmp_path: Path) -> None:
    """The test below could not fail without this."""
    path = tmp_path / "bad.html"
    path.write_text(
        '<script>console.error("oh no")</script><img src="http://127.0.0.1:9/x.png">',
        encoding="utf-8",
    )
    seen = browse(path, tmp_path)
    assert any("oh no" in line for line in seen.console)
    assert seen.asked == ["http://127.0.0.1:9/x.png"]


def test_a_report_is_quiet_and_asks_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(full_page(tmp_path), encoding="utf-8")
    seen = browse(path, tmp_path)
    assert seen.console == []
    assert seen.asked == []
    assert seen.dom.count("<svg") == 7


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_cut_or_too_small(tmp_path: Path, width: int) -> None:
    page = re.sub(r"<meta http-equiv[^>]*>", "", full_page(tmp_path))
    path = tmp_path / "probe.html"
    path.write_text(PROBE.format(page=html.escape(page), width=width), encoding="utf-8")
    body = browse(path, tmp_path).dom
    assert re.search(r'data-cut="([^"]*)"', body).group(1) == ""  # type: ignore[union-attr]
    assert 'data-small="0"' in body
    assert f'data-wide="{width}"' in body
