"""Stage ``corpus``: the publisher's annotation becomes a manifest and a data report."""

import dataclasses

from slt.config.base import read_params, section
from slt.config.data import CorpusConfig
from slt.corpora import read_corpus, report
from slt.manifest import write_manifest
from slt.paths import corpus_dir
from slt.stage import run
from slt.store import discard, fingerprint, publish, work_folder, write_json


def main(dataset: str) -> None:
    """Check all parameters, then read a dataset's annotation into manifest.parquet and report.json."""
    from slt.config import schema

    params = read_params()
    schema.check(params)
    config = section(CorpusConfig, params, f"{dataset}.corpus")
    work = work_folder("corpus", fingerprint(dataset, dataclasses.asdict(config)))
    reading = read_corpus(config, dataset, work)
    findings = report(reading, config)
    write_manifest(work / "manifest.parquet", reading.clips, reading.features)
    write_json(work / "report.json", findings)
    publish(work, corpus_dir(dataset))
    discard(work)  # adapters write in place and take nothing up


if __name__ == "__main__":
    run("corpus", ["dataset"], main)
