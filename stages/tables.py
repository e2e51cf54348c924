"""Stage tables: all evaluations to tables, paired tests, plots and the headline figures of ``dvc exp show``."""

from pathlib import Path

from slt.config.base import read_params
from slt.config.run import read_run
from slt.paper_tables import write_paper_tables
from slt.plots import write_plots
from slt.stage import run
from slt.tables import collect, write_tables

METRICS = Path("metrics")


def main() -> None:
    """Write metrics/: summary.json, a table per dataset, the same in the paper's shape, plots."""
    params = read_params()
    results = collect(read_run(params))  # the names come from params: a glob would keep removed rows
    write_tables(results, METRICS)
    write_paper_tables(results, params, METRICS)
    write_plots(results, METRICS / "plots")


if __name__ == "__main__":
    run("tables", [], main)
