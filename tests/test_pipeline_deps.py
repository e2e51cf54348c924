"""A changed module re-runs the stages that use it and no others: each stage's import closure equals its deps."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
DYNAMIC = {"slt/corpora/__init__.py": [path.relative_to(ROOT).as_posix() for path in ROOT.glob("slt/corpora/*.py")]}
"""what is imported by name at run time"""


def definition(stage: str) -> dict[str, Any]:
    return DVC[stage].get("do", DVC[stage])


def module_file(name: str) -> Path | None:
    for path in (ROOT / f"{name.replace('.', '/')}.py", ROOT / name.replace(".", "/") / "__init__.py"):
        if path.is_file():
            return path
    return None


def imports(path: Path) -> set[Path]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {module_file(name) for name in names if name.split(".")[0] in {"slt", "stages"}}
    files |= {ROOT / other for other in DYNAMIC.get(path.relative_to(ROOT).as_posix(), [])}
    return {file for file in files if file is not None}


def closure(path: Path) -> set[str]:
    seen, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting.extend(imports(file))
    # empty package files change nothing
    return {file.relative_to(ROOT).as_posix() for file in seen if ast.parse(file.read_text()).body[1:] or file == path}


def write_deps(path: Path) -> None:
    """Bring the code deps in dvc.yaml up to date; `make deps` calls it."""
    code = re.compile(r"( +)- (?:stages|slt)/.*\.py$")
    stage, listed, lines = "", set[str](), list[str]()
    for line in path.read_text().splitlines():
        if match := re.match(r"  (\w+):$", line):
            stage = match[1]
        if (match := code.match(line)) is None:
            lines.append(line)
        elif stage not in listed:  # the whole list takes the place of its first line
            listed.add(stage)
            files = sorted(closure(ROOT / "stages" / f"{stage}.py"), key=lambda file: (file.startswith("slt/"), file))
            lines += [f"{match[1]}- {file}" for file in files]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("stage", DVC)
def test_deps_are_the_import_closure(stage: str) -> None:
    listed = [dep for dep in definition(stage)["deps"] if dep.endswith(".py")]
    assert len(listed) == len(set(listed))
    assert set(listed) == closure(ROOT / "stages" / f"{stage}.py")


def hidden(value: Any, key: str) -> set[str]:
    """Keys inside a parameter that DVC's run cache does not look at (treeverse/dvc issue 10296)."""
    if not isinstance(value, dict):
        return set()
    own = {f"{key}.{name}" for name in value if name in ("size", "nfiles")}
    return own.union(*(hidden(inner, f"{key}.{name}") for name, inner in value.items()))


@pytest.mark.parametrize("stage", DVC)
def test_no_parameter_is_hidden_from_the_run_cache(stage: str) -> None:
    """Else `-S demo.frames.size=56` brings the frames of 112 pixels back, which some earlier run left there."""
    listed = [name for name in definition(stage)["params"] if isinstance(name, str)]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for dataset in (name for name in params if name != "run"):
        items = [{"dataset": dataset, "teacher": teacher} for teacher in params[dataset]["teachers"]]
        for item in items:
            names = [re.sub(r"\$\{item\.(\w+)\}", lambda found, own=item: own.get(found[1], "?"), n) for n in listed]
            for name in (name for name in names if "?" not in name):
                value: Any = params
                for part in name.split("."):
                    value = value.get(part) if isinstance(value, dict) else None
                assert hidden(value, name) <= set(names), (stage, name)


@pytest.mark.parametrize("stage", DVC)
def test_stage_has_a_description_and_replaces_its_shell(stage: str) -> None:
    assert definition(stage)["desc"]
    assert definition(stage)["cmd"].startswith(f"exec python -m stages.{stage}")


@pytest.mark.parametrize(
    ("stage", "forbidden"),
    [
        ("corpus", {"torch", "timm", "transformers"}),
        ("frames", {"torch", "timm", "transformers"}),
        ("features", {"transformers", "sentence_transformers"}),
        ("sign2sem", {"timm", "sentence_transformers"}),
        ("finetune", {"timm", "sentence_transformers"}),
        ("tables", {"torch", "timm", "transformers"}),
    ],
)
def test_stage_imports_only_what_it_uses(stage: str, forbidden: set[str]) -> None:
    import subprocess
    import sys

    code = f"import stages.{stage}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not forbidden & set(result.stdout.split())


if __name__ == "__main__":
    write_deps(ROOT / "dvc.yaml")
