"""What a program can check about how Holdfast is built."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest

from connect_app import app, config, error_pages, handbook, policy, runtime
from jobs import queues, work
from tests import make

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("connect_app", "webhooks", "jobs", "flow_pages", "sandbox")
TOP_LEVEL = {
    "connect_app", "webhooks", "jobs", "flow_pages", "sandbox", "tests", "bench", "docs",
    "pyproject.toml", "Procfile", "README.md", "Makefile", "LICENSE", "requirements.lock", "requirements-dev.lock",
}  # fmt: skip
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "versions" not in path.parts)
LONGEST_MODULE = 300
# A view parses, calls one verb and renders; what is longer than this holds a decision that belongs below.
LONGEST_VIEW = 45


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def web() -> Iterator[flask.Flask]:
    rt = runtime.open_runtime(config.load(make.environ()))
    yield app.create_app(rt.settings, rt)
    rt.close()


def test_the_top_level_holds_what_it_should_and_nothing_else() -> None:
    generated = {"var", "build"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith((".", "__")) and not path.name.endswith(".egg-info")}
    assert found - generated - TOP_LEVEL == set()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_opens_with_what_it_knows_and_stays_short(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "one sentence on what it knows"
    assert len(text.splitlines()) <= LONGEST_MODULE, f"over {LONGEST_MODULE} lines: make it a folder named for the same noun"


def test_modules_are_not_named_for_technical_roles() -> None:
    banned = {"service", "services", "manager", "managers", "helper", "helpers", "utils", "util", "common"}
    assert [_name(path) for path in MODULES if path.stem in banned or path.parent.name in banned] == []


def test_only_db_commits() -> None:
    """A savepoint or a migration's own lock is not a commit of work; `.commit(` in a verb would be."""
    allowed = {"connect_app/db.py", "connect_app/migrations/env.py"}
    # The committer's own connection is the webhook door's: it keeps events before any tenant is known.
    allowed |= {"webhooks/committer.py"}
    offenders = [
        f"{_name(path)}:{number}"
        for path in MODULES
        if _name(path) not in allowed and not _name(path).startswith("sandbox/")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\.commit\(", line)
    ]
    assert offenders == []


def test_only_the_runtime_and_logs_ask_the_clock() -> None:
    """`Runtime.now` is the one place: a story moves it by months."""
    asks = re.compile(r"datetime\.now\(|time\.time\(|utcnow\(|date\.today\(")
    # The door compares with a signature's time; the gateway dates an answer that has no Date header.
    allowed = {"connect_app/runtime.py", "webhooks/door.py", "webhooks/signatures.py", "connect_app/stripe_gateway/wire.py"}
    offenders = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in MODULES
        if _name(path) not in allowed and not _name(path).startswith("sandbox/")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asks.search(line)
    ]
    assert offenders == []


def test_no_todo_is_left() -> None:
    mark = "TO" + "DO"
    assert [_name(path) for path in [*MODULES, *(ROOT / "tests").rglob("*.py")] if mark in path.read_text()] == []


@pytest.mark.parametrize("kind", sorted(queues.KINDS))
def test_every_job_resolves(kind: str) -> None:
    assert callable(work.resolve(queues.KINDS[kind].handler))
    if told := queues.KINDS[kind].given_up:
        assert callable(work.resolve(told))


def test_every_queue_is_consumed_by_the_procfile() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    consumed = {line.rpartition("jobs.worker ")[2] for line in lines if "jobs.worker " in line}
    assert consumed == set(queues.QUEUES) == {kind.queue for kind in queues.KINDS.values()}


def test_every_doorbell_names_the_one_function() -> None:
    module, _, name = queues.JOB.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_route_is_in_the_policy_table(web: flask.Flask) -> None:
    endpoints = {rule.endpoint for rule in web.url_map.iter_rules()}
    assert endpoints - set(policy.TABLE) == set(), "say in connect_app/policy.py who may call these"
    assert set(policy.TABLE) - endpoints == set(), "connect_app/policy.py names routes that are not there"


def test_a_view_answers_one_verb(web: flask.Flask) -> None:
    for rule in web.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        assert methods <= {"GET"} or methods <= {"POST"}, f"{rule.endpoint} answers {methods}"


def test_views_are_thin(web: flask.Flask) -> None:
    thick = []
    for endpoint, view in web.view_functions.items():
        function = inspect.unwrap(view)
        if not function.__module__.startswith(("connect_app", "flow_pages")):
            continue
        source = inspect.getsource(function)
        if len(source.splitlines()) > LONGEST_VIEW:
            thick.append(f"{endpoint}: {len(source.splitlines())} lines")
        if re.search(r"session\.(execute|scalars?|add)\(|\bselect\(|\btext\(", source):
            thick.append(f"{endpoint}: SQL in a view")
    assert thick == []


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name.upper() for name in config.Settings.model_fields if f"`{name.upper()}`" not in readme] == []


def test_every_directory_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    folders = [
        path
        for package in (*PACKAGES, "tests")
        for path in [ROOT / package, *(ROOT / package).iterdir()]
        if path.is_dir() and not path.name.startswith(("__", "."))
    ]
    assert [_name(path) for path in folders if f"{path.name}/" not in readme] == []


def test_every_error_code_is_explained() -> None:
    """What `doc_url` leads to has an anchor for each code that any module can raise."""
    known = {entry.code for entry in handbook.entries()}
    raised = {code for path in MODULES if "sandbox" not in path.parts for code in _codes(path)}
    raised |= {code for code, _ in error_pages._WORDS.values()}
    assert raised - known == set(), "add these to docs/errors.md"


def _codes(path: Path) -> Iterator[str]:
    """The literal codes of the problems a module raises."""
    kinds = {"InvalidRequest", "NotAuthenticated", "Forbidden", "NotFound", "Conflict", "Gone", "Unavailable"}
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        if name in kinds:
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


@pytest.mark.parametrize("address", ["/api/embed/cancel", "/api/nowhere", "/webhooks/nowhere"])
def test_every_json_error_has_the_one_shape(web: flask.Flask, address: str) -> None:
    answer = web.test_client().get(address)
    assert answer.status_code in {404, 405}
    assert set(answer.json["error"]) == {"type", "code", "message", "param", "request_id", "doc_url"}
    assert answer.json["error"]["request_id"] == answer.headers["Request-Id"]


def test_a_docs_url_leads_to_its_code(web: flask.Flask) -> None:
    url = web.test_client().get("/api/nowhere").json["error"]["doc_url"]
    path, _, anchor = url.partition("#")
    page = web.test_client().get(path)
    assert page.status_code == 200
    assert f'id="{anchor}"' in page.text


def test_committed_files_name_no_machine() -> None:
    """Locks and documents hold no address of a registry and no path of the machine that made them."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^#.*\s/[a-z]", text, re.MULTILINE)


def test_ci_runs_the_readmes_test_command() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def _is_view(path: Path) -> bool:
    """Whether the module answers requests: it makes a blueprint, or is among an area's views."""
    if "sandbox" in path.relative_to(ROOT).parts:
        return False
    return "views" in (*path.parts, path.stem) or any(
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Blueprint") for node in ast.walk(ast.parse(path.read_text()))
    )


def _sql(path: Path) -> list[str]:
    """What of SQL a module has: SQLAlchemy's words for statements, and models used for more than saying what a row is."""
    tree = ast.parse(path.read_text())
    words = {"select", "insert", "update", "delete", "text", "func", "exists", "union", "union_all", "literal", "and_", "or_"}
    tables: set[str] = set()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.partition(".")[0] == "sqlalchemy"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sqlalchemy":
            found += [f"{node.module}.{name.name}" for name in node.names if name.name in words]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connect_app.models"):
            tables |= {name.asname or name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "connect_app":
            tables |= {name.asname or name.name for name in node.names if name.name == "models"}
    notes = {id(part) for node in ast.walk(tree) for note in _annotations(node) for part in ast.walk(note)}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in tables and id(node) not in notes}
    return found + sorted(f"connect_app.models: {name}" for name in used)


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if isinstance(note, ast.AST):
            yield note


@pytest.mark.parametrize("path", [path for path in MODULES if _is_view(path)], ids=_name)
def test_a_module_of_views_asks_verbs_and_no_tables(path: Path) -> None:
    assert _sql(path) == [], "a query is a verb of the package whose tables it reads"
