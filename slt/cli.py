"""The ``slt`` command: translate, score, add a dataset, run tables and experiments, check, verify, show times."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from slt.errors import SltError
from slt.stage import configure_logging, log

CLIP = "a video file, a folder of images, or (model trained on precomputed features) a .npy of (frames, features)"


def main(argv: list[str] | None = None) -> None:
    """Entry point; an expected error is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="slt", description="Sign language translation with sentence embeddings.")
    commands = parser.add_subparsers(dest="command", required=True)

    translate = commands.add_parser("translate", help="video files to sentences")
    translate.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help=CLIP)
    translate.add_argument("--model", required=True, type=Path, help="a model folder, such as data/finetune/<row>")
    translate.add_argument("--json", action="store_true", help="n-best with scores and nearest training sentences")
    translate.add_argument("--beam", type=int, default=4, help="hypotheses kept during the search (default 4)")
    translate.add_argument("--n-best", type=int, default=4, help="sentences per clip in --json (default 4)")
    translate.add_argument("--length-penalty", type=float, default=1.0)
    translate.add_argument("--max-tokens", type=int, default=64, help="longest sentence (default 64 tokens)")
    translate.add_argument("--language", help="to write, ISO 639-1, where the model writes several")
    translate.set_defaults(run=_translate)

    score = commands.add_parser(
        "score",
        help="score anyone's output files, with intervals, as sacrebleu does",
        description="Files are plain lines, or JSONL (*.jsonl) with the keys id, hypothesis, reference.",
    )
    score.add_argument("--hyp", required=True, type=Path, metavar="FILE", help="one sentence a line, or JSONL")
    score.add_argument(
        "--ref", nargs="+", type=Path, default=[], metavar="FILE", help="default: the key `reference` in --hyp"
    )
    score.add_argument("--baseline", type=Path, metavar="FILE", help="another system's output, for a paired test")
    score.add_argument("--json", action="store_true", help="everything, as JSON")
    score.add_argument("--language", help="of the text, ISO 639-1 (de, en): BLEU with function words dropped")
    score.add_argument("--bleurt", metavar="CHECKPOINT", help="a BLEURT checkpoint: local path or hub:<id>@<revision>")
    score.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (default 1000)")
    score.add_argument("--seed", type=int, default=12345, help="of the resamples (default 12345, sacrebleu's)")
    score.add_argument("--confidence", type=float, default=0.95, help="of the intervals (default 0.95, sacrebleu's)")
    score.add_argument("--split", default="test", help="where JSONL lines have the key `split` (default test)")
    score.add_argument("--condition", default="model", help="where JSONL lines have that key (default model)")
    score.add_argument("--all-references", action="store_true", help="add the key `references` of JSONL lines")
    score.set_defaults(run=_score)

    check = commands.add_parser("check", help="check the whole of params.yaml")
    check.set_defaults(run=_check)

    new = commands.add_parser("new", help="add a corpus of your own to params.yaml")
    new.add_argument("name", metavar="NAME", help="the new dataset's name")
    new.add_argument("--like", required=True, metavar="DATASET", help="whose parameters it starts from")
    new.add_argument(
        "--manifest",
        required=True,
        nargs="+",
        metavar="FILE",
        help="the table of clips, or train=FILE dev=FILE test=FILE",
    )
    new.add_argument("--media", required=True, metavar="FOLDER", help="the folder that the table's videos are in")
    new.add_argument("--layout", choices=["own", "multimodalhugs"], default="own", help="of the table (default own)")
    new.add_argument("--columns", nargs="+", default=[], metavar="OURS=THEIRS", help="columns of another name")
    new.add_argument("--splits", nargs="+", default=[], metavar="THEIRS=OURS", help="splits of another name: val=dev")
    new.add_argument("--language", help="of the text, ISO 639-1 (default: as DATASET's)")
    new.add_argument("--sign-language", help="ISO 639-3 (default: as DATASET's)")
    new.set_defaults(run=_new)

    experiment = commands.add_parser(
        "experiment",
        help="run one of the paper's experiments on any dataset; its result lands in docs/experiments.md",
        description="Every variant is a DVC experiment in a temporary checkout: the workspace stays as it is.",
    )
    experiment.add_argument("name", nargs="?", metavar="NAME", help="see --list; without one: make the report anew")
    experiment.add_argument("--list", action="store_true", help="the experiments, what they show, their axes")
    experiment.add_argument("--dataset", metavar="DATASET", help="a dataset section of params.yaml")
    experiment.add_argument("--seeds", metavar="N,N", help="of all three phases (default: the dataset's own, once)")
    experiment.add_argument("--values", nargs="+", default=[], metavar="[AXIS=]V,V", help="points of an axis")
    experiment.add_argument("--systems", metavar="S,S", help="entries of the dataset's systems")
    experiment.add_argument("--teacher", help="default: that of the dataset's first line in run.sem2text")
    experiment.add_argument("--decoder", help="default: that of the dataset's first line in run.sem2text")
    experiment.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for all variants, as dvc exp run -S",
    )
    experiment.add_argument("--label", help="of a table of its own, for another teacher, decoder or -S")
    experiment.add_argument("--dry", action="store_true", help="print the commands, run nothing")
    experiment.set_defaults(run=_experiment)

    paper = commands.add_parser(
        "paper",
        help="run the rows of the paper's tables on their corpus; they land in metrics/paper_<dataset>.md",
        description="One `dvc exp run` in the workspace, whose `run` it replaces. Cells that the dataset's section"
        " cannot fill are named.",
    )
    paper.add_argument("--dataset", required=True, metavar="DATASET", help="phoenix14t or how2sign")
    paper.add_argument("--systems", metavar="S,S", help="of the paper (default: all)")
    paper.add_argument("--teachers", metavar="T,T", help="of the paper: mono, multi (default: both)")
    paper.add_argument("--decoders", metavar="D,D", help="of the paper: sltr, mbart (default: both)")
    paper.add_argument("--dry", action="store_true", help="print the command, run nothing")
    paper.set_defaults(run=_paper)

    teacher = commands.add_parser(
        "teacher",
        help="train a small teacher on a dataset's monolingual text",
        description="By denoising (TSDAE), as the entry's section `trained` says; it then lies where `model` says.",
    )
    teacher.add_argument("--dataset", required=True, metavar="DATASET", help="a dataset section of params.yaml")
    teacher.add_argument("--teacher", required=True, metavar="TEACHER", help="an entry of its teachers")
    teacher.set_defaults(run=_teacher)

    verify = commands.add_parser("verify", help="every file on disk against what its stage wrote")
    verify.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="such as data/demo; default everything")
    verify.set_defaults(run=_verify)

    times = commands.add_parser("times", help="seconds of each stage's last run here")
    times.set_defaults(run=_times)

    arguments = parser.parse_args(argv)
    configure_logging()
    try:
        arguments.run(arguments)
    except SltError as error:
        log.error("%s", error)
        sys.exit(2)


def _translate(arguments: argparse.Namespace) -> None:
    from transformers.utils import logging as transformers_logging

    from slt.decoding import Search
    from slt.translate import ClipTranslator

    transformers_logging.disable_progress_bar()
    n_best = min(arguments.n_best, arguments.beam) if arguments.json else 1
    search = Search(arguments.beam, arguments.length_penalty, arguments.max_tokens, 16, n_best, scores=arguments.json)
    results = ClipTranslator(arguments.model)(arguments.clips, search, language=arguments.language)
    if arguments.json:
        text = json.dumps([result.to_json() for result in results], ensure_ascii=False, indent=2)
    else:
        text = "\n".join(result.sentences[0] for result in results)
    sys.stdout.write(text + "\n")


def _score(arguments: argparse.Namespace) -> None:
    from slt.config.evaluate import IntervalConfig
    from slt.errors import ConfigError
    from slt.score_files import Selection, report, score_files

    try:
        config = IntervalConfig(resamples=arguments.resamples, seed=arguments.seed, confidence=arguments.confidence)
    except ValueError as error:
        raise ConfigError(f"slt score: {error}") from error
    content = score_files(
        arguments.hyp,
        arguments.ref,
        arguments.baseline,
        config=config,
        bleurt=arguments.bleurt,
        language=arguments.language,
        selection=Selection(arguments.split, arguments.condition),
        all_references=arguments.all_references,
    )
    text = json.dumps(content, ensure_ascii=False, indent=2) if arguments.json else report(content)
    sys.stdout.write(text + "\n")


def _check(arguments: argparse.Namespace) -> None:
    from slt.config.base import read_params
    from slt.config.schema import check

    check(read_params())
    log.info("params.yaml: every section is well-formed, every row's upstream is listed in `run`")


def _new(arguments: argparse.Namespace) -> None:
    from slt.config.base import parse
    from slt.corpora.own import OwnConfig
    from slt.new_corpus import add_dataset, read_manifest_option, read_pairs

    given = {
        "manifest": read_manifest_option(arguments.manifest),
        "media": arguments.media,
        "layout": arguments.layout,
        "columns": read_pairs("--columns", arguments.columns),
        "splits": read_pairs("--splits", arguments.splits),
    }
    options = parse(OwnConfig, given, f"{arguments.name}.corpus.options")
    rows = add_dataset(arguments.name, arguments.like, options, arguments.language, arguments.sign_language)
    log.info(
        "params.yaml: added `%s:` and the rows %s; read it through, then: dvc repro", arguments.name, ", ".join(rows)
    )


def _experiment(arguments: argparse.Namespace) -> None:
    from slt.config.base import read_params
    from slt.errors import ConfigError
    from slt.experiments import EXPERIMENTS, SEM_MAP, Choice, experiment_named, read_numbers, read_values, trials
    from slt.experiments_run import head, overridden, run_experiment
    from slt.experiments_unseen import check_workspace

    if arguments.list:
        sys.stdout.write("\n".join(experiment.describe() for experiment in EXPERIMENTS.values()) + "\n")
        return
    if arguments.name is None:
        options = ("dataset", "seeds", "values", "systems", "teacher", "decoder", "set_param", "label", "dry")
        given = [f"--{option.replace('_', '-')}" for option in options if getattr(arguments, option)]
        if given:
            raise ConfigError(
                f"slt experiment: {', '.join(given)} of which experiment? Name one (`slt experiment --list`); without"
                " any option docs/experiments.md is made anew"
            )
    else:
        experiment = experiment_named(arguments.name)
        if arguments.dataset is None:
            raise ConfigError(f"slt experiment {experiment.name}: name a dataset, as in --dataset demo")
        params = overridden(arguments.set_param) if arguments.set_param else read_params()
        choice = Choice(
            seeds=read_numbers("--seeds", arguments.seeds),
            values=read_values(experiment, arguments.values),
            systems=tuple(arguments.systems.split(",")) if arguments.systems else (),
            teacher=arguments.teacher,
            decoder=arguments.decoder,
            overrides=tuple(arguments.set_param),
            label=arguments.label,
        )
        if experiment.name == SEM_MAP:
            from slt.experiments_sem_map import run_sem_map, sem_map_reads

            unread = [
                f"--{name}" for name in ("seeds", "values", "systems", "teacher", "decoder") if getattr(choice, name)
            ]
            if unread:
                every = f"slt experiment {SEM_MAP}: it maps every row of the dataset"
                raise ConfigError(f"{every}; leave out {', '.join(unread)}")
            if arguments.dry:
                sys.stdout.writelines(f"reads {path}\n" for path in sem_map_reads(params, arguments.dataset))
            else:
                run_sem_map(params, arguments.dataset, head(), choice.label)
        else:
            planned = trials(experiment, params, arguments.dataset, choice)
            check_workspace(planned, params)
            if arguments.dry:
                for trial in planned:
                    overridden(trial.overrides)  # a variant that would not run is not printed
                    sys.stdout.write(shlex.join(trial.command) + "\n")
            else:
                run_experiment(experiment, planned, choice, shlex.join(["slt", *sys.argv[1:]]))
        if arguments.dry:
            return
    from slt.experiments_report import REPORT, write_report

    for path in write_report():
        log.info("%s", path)
    log.info("%s: made anew", REPORT)


def _paper(arguments: argparse.Namespace) -> None:
    from slt.config.base import read_params
    from slt.experiments_run import overridden
    from slt.paper_run import Only, plan_paper, read_names, run_paper

    only = Only(**{kind: read_names(getattr(arguments, kind)) for kind in ("systems", "teachers", "decoders")})
    plan = plan_paper(read_params(), arguments.dataset, only)
    params = overridden(tuple(plan.overrides))  # checked before anything runs
    for line in plan.not_run():
        log.warning("not run: %s", line)
    if arguments.dry:
        sys.stdout.write(shlex.join(plan.command) + "\n")
        return
    log.info("rows: %s", ", ".join(plan.rows) or "none without videos, the ceilings alone")
    run_paper(plan, params)
    log.info("metrics/paper_%s.md: the paper's tables", plan.dataset)


def _teacher(arguments: argparse.Namespace) -> None:
    from slt.config.base import read_params
    from slt.tsdae import make_teacher

    log.info("%s", make_teacher(read_params(), arguments.dataset, arguments.teacher))


def _verify(arguments: argparse.Namespace) -> None:
    from slt.errors import StoreError
    from slt.verify import verify

    result = verify(arguments.paths)
    for path in result.absent:
        log.warning("%s: not on disk; `dvc repro` or `dvc checkout` brings it", path)
    for path in result.unlisted:
        log.warning("%s: not compared: it is here from git, and DVC lists its files once `dvc repro` has run", path)
    for fault in result.faults:
        log.error("%s", fault)
    if result.faults:
        raise StoreError(f"faults: {len(result.faults)}, in {result.files} files")
    log.info("%d files, %.2f GB: as their stages wrote them", result.files, result.bytes / 1e9)


def _times(arguments: argparse.Namespace) -> None:
    from slt.errors import DataError
    from slt.paths import STAGE_TIMES, work_root

    path = work_root() / STAGE_TIMES
    if not path.is_file():
        raise DataError(f"{path}: no stage has run here yet; run `dvc repro` first")
    last = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        last[entry["stage"]] = entry["seconds"]
    width = max(map(len, last))
    lines = [f"{stage:<{width}} {seconds:8.1f} s" for stage, seconds in last.items()]
    sys.stdout.write("\n".join([*lines, f"{'all':<{width}} {sum(last.values()):8.1f} s"]) + "\n")


if __name__ == "__main__":
    main()
