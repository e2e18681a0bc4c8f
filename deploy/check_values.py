"""Check ``values.yaml`` against the schema of the Zero to JupyterHub chart, as ``helm install`` would.

``python deploy/check_values.py CHART`` where CHART is the folder ``jupyterhub`` of the chart's repository, with its
``values.yaml`` (the defaults, over which ours are laid) and ``values.schema.yaml``. Exits with 1 when ours are wrong.
"""

import sys
from pathlib import Path

import yaml
from jsonschema import Draft7Validator

VALUES = Path(__file__).parent / "values.yaml"


def over(defaults: object, ours: object) -> object:
    """Ours laid over the defaults as Helm does it: mappings are merged, everything else is replaced."""
    if isinstance(defaults, dict) and isinstance(ours, dict):
        return defaults | {key: over(defaults.get(key), value) for key, value in ours.items()}
    return ours


def complaints(chart: Path, values: Path = VALUES) -> list[str]:
    """What the chart's schema says against the values, one line each."""
    schema, defaults, ours = (
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (chart / "values.schema.yaml", chart / "values.yaml", values)
    )
    found = Draft7Validator(schema).iter_errors(over(defaults, ours))
    return [f"{'.'.join(map(str, error.absolute_path)) or 'the whole'}: {error.message}" for error in found]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for line in (found := complaints(Path(sys.argv[1]))):
        print(line)
    sys.exit(bool(found))
