"""Report pages taken apart, text that is hostile to them, and runs to show."""

import json
from html.parser import HTMLParser
from pathlib import Path

HOSTILE = "<script>alert('x')</script>$\\frac{\"&\x00\n设备 _"


VOID = {"meta", "link"}


class Page(HTMLParser):
    """Collects what a page holds and checks that its tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def run_folder(folder: Path, accuracies: list[float | None], round_s: float = 10.0) -> Path:
    folder.mkdir()
    lines = [
        {
            "round": i,
            "virtual_time_s": round_s * i,
            "round_time_s": round_s,
            "mean_wait_s": 1.0,
            "upload_bytes": 1e6 * i,
            "download_bytes": 1e6 * i,
            "train_loss": 0.5,
            "test_accuracy": accuracy,
            "test_loss": None,
            "devices": ["a"],
            "refused": [],
        }
        for i, accuracy in enumerate(accuracies, start=1)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder
