"""docs/faults.md names tests that exist, and leaves out no fault."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/faults.md").read_text()


def test_every_fault_has_its_row() -> None:
    assert re.findall(r"^\| (F\d+) \|", TEXT, re.MULTILINE) == [f"F{number}" for number in range(1, 44)]


def test_every_test_that_the_faults_are_shown_by_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)+)`", TEXT))
    assert len(named) > 30
    missing = [f"{path}{names}" for path, names in named if names not in _tests(ROOT / path)]
    assert missing == []


def _tests(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"::{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(f"::{node.name}")
    return found
