"""Lint a Helm chart and check what it renders against Kubernetes' schemas; run by ``packaging/lint-containers``.

usage: lint_chart.py FOLDER

Helm's own library lints and renders. Exits 1 where something is wrong.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import helm_python.chart as helm
import kubernetes_validate
import yaml

KUBERNETES = "1.30"
CONTROL = {"enabled": True, "control": True, "trust": "evenwatt-trust"}
VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "lending": {"actuator": {"enabled": True}},
    "control over TLS": {
        "actuator": CONTROL,
        "broker": {"secret": "broker", "username": "node", "cidrs": ["10.0.0.0/8"]},
        "collector": {"secret": "keys", "storageClass": "fast"},
        "agent": {"settings": "[attribution]\ntop = 10", "nodeSelector": {"power": "yes"}},
    },
    "agents only": {"collector": {"enabled": False}},
}


def main(chart: Path) -> int:
    """Lint and render; print a line for each variant."""
    report = helm.lint(chart, strict=True, kube_version=f"v{KUBERNETES}.0")
    found = [f"{message['path']}: {message['error']}" for message in report["messages"] if message["severity"] > 1]
    wrong = _report("helm lint --strict", found + report["errors"], "nothing")
    for name, values in VARIANTS.items():
        objects = _render(chart, values)
        problems = [problem for each in objects for problem in _problems(each)]
        kinds = ", ".join(sorted({each["kind"] for each in objects}))
        wrong += _report(f"values {name!r}", problems, f"{len(objects)} objects are valid: {kinds}")
    return int(wrong > 0)


def _report(what: str, problems: list[str], well: str) -> int:
    print(f"{'FAIL' if problems else 'ok  '} {what}: {'; '.join(problems) or well}")
    return len(problems)


def _render(chart: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    rendered = helm.Chart.load(chart).render(values, name="fleet", namespace="evenwatt")
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def _problems(each: dict[str, Any]) -> list[str]:
    name = f"{each['kind']}/{each['metadata']['name']}"
    problems = []
    try:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        problems.append(f"{name}: {error.message}")
    if each["kind"] == "ConfigMap":
        for file, text in each["data"].items():
            try:
                tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                problems.append(f"{name}: {file}: {error}")
    return problems


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
