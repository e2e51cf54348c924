"""How far wording alone limits BLEU on the demo: ``python analyses/wording_oracle.py``.

Scores, against the test clips' texts, new wordings of their true meanings: what a system reaches that understands
everything and guesses how it was said; then the same with each clip's further references.
"""

import argparse
import random
import sys

from sacrebleu.metrics import BLEU

from slt.config.base import parse, read_params
from slt.demo.config import DemoConfig
from slt.demo.corpus import sample
from slt.demo.english import English


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    config = parse(DemoConfig, read_params()["demo"]["corpus"]["options"], "demo.corpus.options")
    reports = [report for report in sample(config).reports if report.split == "test"]
    wording = English(random.Random(0), config.wording)
    usual = English(random.Random(0), 50.0)  # always the most usual form
    texts = [report.text for report in reports]
    others = [[report.references[i] for report in reports] for i in range(config.references)]
    for name, words in (("a random wording", wording), ("the most usual wording", usual)):
        hypotheses = [words.sentence(report.meaning) for report in reports]
        single = BLEU().corpus_score(hypotheses, [texts]).score
        several = BLEU().corpus_score(hypotheses, [texts, *others]).score
        sys.stdout.write(f"{name}: {single:.1f} BLEU against the text, {several:.1f} against all references\n")


if __name__ == "__main__":
    main()
