"""Makes ``data/vcsl.json``: what the evaluator of VCSL says of made-up answers.

    python tests/parity/make_vcsl.py VCSL

The argument is the git directory (or a checkout) of alipay/VCSL@25ee60f. The answers are those of make_vsc2022.py.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SETS = {"first": range(5), "second": range(5, 18), "third": range(18, 25)}


def main(repository: str) -> None:
    git = ["git", "-C", repository]
    source = subprocess.run(
        [*git, "show", "HEAD:vcsl/metric.py"], check=True, capture_output=True, text=True
    ).stdout
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    original: dict[str, Any] = {"__name__": "metric"}
    exec(source, original)
    scores = {}
    for number, (found, true) in enumerate(pairs()):
        boxes = [
            original["np"].array([[r.query_start, r.ref_start, r.query_end, r.ref_end] for r in rows])
            for rows in (found, true)
        ]
        scores[str(number)] = original["precision_recall"](*boxes)
    recall, precision, missed, alarms = original["evaluate_micro"](scores, 1)
    sets = {name: [str(number) for number in members] for name, members in SETS.items()}
    macro = original["evaluate_macro"](scores, sets)
    numbers = {
        "commit": commit,
        "pairs": [[float(score["precision"]), float(score["recall"])] for score in scores.values()],
        "micro": {"precision": precision, "recall": recall, "missed": missed, "false_alarms": alarms},
        "macro": {"precision": macro[1], "recall": macro[0]},
    }
    (HERE / "data" / "vcsl.json").write_text(json.dumps(numbers) + "\n", "utf-8")


def pairs() -> list[tuple[list[Any], list[Any]]]:
    """What is found and what is true, each case of make_vsc2022.py as one pair; then empty sides."""
    made = runpy.run_path(str(HERE / "make_vsc2022.py"))["cases"]()
    found = [(case.found, case.true) for case in made]
    return [*found, (found[0][0], []), ([], [])]


if __name__ == "__main__":
    main(sys.argv[1])
