"""A new dataset in params.yaml: another dataset's section under a new name, its own table of clips, and its runs.

The file is added to as text, so that its comments stay, and every key of the new section is spelled out: what a run
used can be read in one place, and `dvc exp run -S` can override any of it.
"""

import re
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import yaml

from slt.config import schema
from slt.config.base import PARAMS, parse, read_params
from slt.config.data import CorpusConfig
from slt.corpora.own import OwnConfig
from slt.errors import ConfigError
from slt.manifest import SPLITS
from slt.paths import resolve
from slt.store import replacing


def add_dataset(name: str, like: str, options: OwnConfig, language: str | None, sign_language: str | None) -> list[str]:
    """Add dataset ``name`` to params.yaml and return the names of its rows.

    Its section is that of ``like`` but for ``corpus``, which reads ``options`` with :mod:`slt.corpora.own`; languages
    are ``like``'s where None. It is run with ``like``'s first teacher and decoder and those of its systems that need no
    gloss.

    Raises ConfigError, and leaves the file as it was, when the name is taken or none, when ``like`` or a table is not
    there, or when the file is laid out in a way that text cannot be added to.
    """
    params = read_params()
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in params:
        raise ConfigError(f"{PARAMS}: `{name}` is taken or no name (a letter, then a-z, 0-9, _); choose another")
    if like == "run" or like not in params:
        raise ConfigError(
            f"{PARAMS}: no dataset `{like}` to copy; there are: {', '.join(key for key in params if key != 'run')}"
        )
    schema.check(params)
    for table in options.manifest.values() if isinstance(options.manifest, dict) else [options.manifest]:
        if not resolve(table).is_file():
            raise ConfigError(f"{resolve(table)}: no such manifest; correct its path, or set SLT_RAW")
    template = parse(CorpusConfig, params[like]["corpus"], f"{like}.corpus")
    defaults = asdict(OwnConfig(options.manifest, options.media))
    corpus = {
        "adapter": "own",
        "language": language or template.language,
        "sign_language": sign_language or template.sign_language,
        "max_dropped": dict.fromkeys(SPLITS, 0),
        "options": {
            key: value
            for key, value in asdict(options).items()
            if key in ("manifest", "media") or value != defaults[key]
        },
    }
    runs = _runs(name, params[like])
    expected = deepcopy(params)
    expected[name] = {**params[like], "corpus": corpus}
    expected["run"]["datasets"].append(name)
    for kind, entries in runs.items():
        expected["run"][kind] |= entries
    text = PARAMS.read_text(encoding="utf-8")
    added = _with_runs(text, name, runs).rstrip("\n") + "\n\n" + _section(text, like, name, corpus)
    if _parsed(added) != expected:
        raise ConfigError(
            f"{PARAMS}: not laid out as text that can be added to; copy the section `{like}:` by hand to `{name}:`, "
            f"with corpus: {_flow(corpus)}, and add to run: {_flow({'datasets': [name], **runs})}"
        )
    schema.check(expected)
    with replacing(PARAMS) as temporary:
        temporary.write_text(added, encoding="utf-8")
    return list(runs["rows"])


def _runs(name: str, template: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """The entries of ``run``: targets, sem2text, a row per gloss-free system; sign2text, if any, is the baseline."""
    teacher, decoder = next(iter(template["teachers"])), next(iter(template["decoders"]))
    baseline = f"{name}-sign2text" if "sign2text" in template["systems"] else None
    pair = {"dataset": name, "teacher": teacher}
    rows = {}
    for system, recipe in template["systems"].items():
        if recipe.get("gloss_weight"):  # few corpora have glosses; where one has, the row is a line by hand
            continue
        row = f"{name}-{system.replace('_', '-')}"
        against = baseline if row != baseline else None
        rows[row] = {
            "dataset": name,
            "system": system,
            "teacher": teacher,
            "decoder": decoder,
            "seed": 1,
            "baseline": against,
        }
    return {
        "targets": {f"{name}-{teacher}": pair},
        "sem2text": {f"{name}-{teacher}-{decoder}": {**pair, "decoder": decoder}},
        "rows": rows,
    }


def _with_runs(text: str, name: str, runs: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The file with the dataset and its entries at the end of each list of ``run``."""
    lines = re.sub(r"^(  datasets: \[.*?)( *\])", rf"\g<1>, {name}\g<2>", text, count=1, flags=re.MULTILINE).split("\n")
    for kind, entries in runs.items():
        start = _index(lines, rf"  {kind}:\s*(#.*)?")
        end = _block_end(lines, start, 2)
        for key, entry in entries.items():
            line = f"    {key}: {_flow(entry)}"
            new = [line] if len(line) <= 120 else [f"    {key}:", f"      {_flow(entry)}"]
            lines[end:end] = new
            end += len(new)
    return "\n".join(lines)


def _section(text: str, like: str, name: str, corpus: dict[str, Any]) -> str:
    """The section of ``like`` under the new name, comments and all, with its own ``corpus``."""
    lines = text.split("\n")
    start = _index(lines, rf"{like}:\s*(#.*)?")
    section = [f"{name}:", *lines[start + 1 : _block_end(lines, start, 0)]]
    at = _index(section, r"  corpus:\s*(#.*)?")
    new = ["  corpus:"]
    for key, value in corpus.items():
        if key == "options":
            new += ["    options:", *(f"      {option}: {_flow(given)}" for option, given in value.items())]
        else:
            new.append(f"    {key}: {_flow(value)}")
    section[at : _block_end(section, at, 2)] = new
    return "\n".join(section) + "\n"


def _index(lines: Iterable[str], pattern: str) -> int:
    """Where the first line of that form stands; ConfigError when there is none."""
    for i, line in enumerate(lines):
        if re.fullmatch(pattern, line):
            return i
    raise ConfigError(f"{PARAMS}: no line `{pattern}`; write the file in block style, two blanks a level")


def _block_end(lines: list[str], start: int, indent: int) -> int:
    """The line behind the block that line ``start`` opens at this indentation, without blank lines at its end."""
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return end


def _flow(value: Any) -> str:
    """A value in YAML's one-line form."""
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**30)
    return dumped.removesuffix("...\n").strip()


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def read_manifest_option(values: list[str]) -> str | dict[str, str]:
    """``--manifest``: one table, or three as ``train=<file> dev=<file> test=<file>``; ConfigError for anything else."""
    pairs = dict(value.split("=", 1) for value in values if value.split("=", 1)[0] in SPLITS and "=" in value)
    if len(values) == 1 and not pairs:
        return values[0]
    if set(pairs) != set(SPLITS) or len(values) != len(SPLITS):
        raise ConfigError("--manifest: give one table, or three: train=<file> dev=<file> test=<file>")
    return pairs


def read_pairs(option: str, values: list[str]) -> dict[str, str]:
    """``NAME=NAME`` arguments as a mapping; ConfigError for one without `=`."""
    for value in values:
        if not all(value.partition("=")):
            raise ConfigError(f"{option}: `{value}` is not of the form NAME=NAME")
    return dict(value.split("=", 1) for value in values)
