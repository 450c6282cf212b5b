"""docs/score.md and docs/improvement.md name every option, field, factor and constant."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from evenwatt_cli import main
from evenwatt_collector.feedback import asking, counterfactual, guard, learned, trend, trial, weeks
from evenwatt_collector.score import answer, grade, scoring, terms

DOCS = Path(__file__).parents[2] / "docs"
SCORE, IMPROVEMENT = ((DOCS / f"{name}.md").read_text() for name in ("score", "improvement"))


def options(*path):
    command = typer.main.get_command(main.app)
    for name in path:
        command = command.commands[name]
    return {option for p in command.params for option in p.opts if option.startswith("--") and option != "--help"}


@pytest.mark.parametrize("option", sorted(options("score", "show") | options("score", "freeze")))
def test_every_option_of_score_is_described(option):
    assert f"`{option}`" in SCORE


@pytest.mark.parametrize("option", sorted(options("improvement")))
def test_every_option_of_improvement_is_described(option):
    assert f"`{option}`" in IMPROVEMENT


@pytest.mark.parametrize("kind", [scoring.Scored, scoring.Against, scoring.Runs, terms.Factor, grade.Grade])
def test_every_field_of_a_score_is_described(kind):
    assert {f.name for f in fields(kind)} <= set(re.findall(r"`(\w+)(?:\[\])?`", SCORE))


@pytest.mark.parametrize(
    "kind", [weeks.Improvement, weeks.Week, weeks.Saved, weeks.Predicted, weeks.Controls, trend.Trend, asking.Policy]
)
def test_every_field_of_an_improvement_is_described(kind):
    assert {f.name for f in fields(kind)} <= set(re.findall(r"`(\w+)(?:\[\])?`", IMPROVEMENT))


def test_factors_letters_and_tests_are_what_is_described():
    for name in terms.NAMES:
        assert f"| `{name}` |" in SCORE
    assert ", ".join(f"{letter} {least:g}" for letter, least in grade.LETTERS) in SCORE
    for name in trial.TESTS:
        assert f"| `{name}` |" in IMPROVEMENT
    assert answer.SCHEMA in SCORE
    assert asking.SCHEMA in IMPROVEMENT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SCORE, f"Fewer than {grade.LEAST_KEPT:.0%}".replace("%", " %")),
        (SCORE, f"below {100 * grade.LEAST_COVERAGE:g} %: **B at the most**, {grade.CAPPED_POINTS:g} points"),
        (IMPROVEMENT, f"at most {100 * guard.ALPHA:g} % are ever"),
        (IMPROVEMENT, f"**Controls** are {100 * guard.CONTROL_SHARE:g} % of the jobs"),
        (IMPROVEMENT, f"a job saves at least -{100 * trial.LOSS:g} % | jobs, at most {trial.A_DAY} a day"),
        (IMPROVEMENT, f"at most {100 * trial.LATE:g} % more jobs are late"),
        (IMPROVEMENT, f"up to {100 * trial.MOST_JOB:g} % of a job and {100 * trial.MOST_DAY:g} % of a day"),
        (IMPROVEMENT, f"{100 * counterfactual.RUN_TO_RUN:g} % (the same work on another occasion)"),
        (IMPROVEMENT, f"{100 * counterfactual.BY_SPEEDUP:g} %, and the above"),
        (IMPROVEMENT, f"{100 * counterfactual.BY_PLACE:g} %, and the above"),
        (IMPROVEMENT, f"from within {counterfactual.AT_ONCE_S / 60:g} minutes"),
        (IMPROVEMENT, f"of the last {learned.RUNS} runs"),
        (IMPROVEMENT, f"exp(m n/(n + {learned.SHRINK:g}))"),
        (IMPROVEMENT, f"the {100 * learned.LATE:g} % quantile"),
        (IMPROVEMENT, f"{100 * learned.RESERVE:g} % while fewer than 19"),
        (IMPROVEMENT, f"below {trend.ENOUGH} jobs"),
        (IMPROVEMENT, f"below {100 * trend.SURE:g} % confidence"),
        (IMPROVEMENT, f"from {weeks.ENOUGH_CONTROLS} of each on"),
    ],
)
def test_constants_are_what_is_described(text, words):
    assert words in re.sub(r"\s+", " ", text)
