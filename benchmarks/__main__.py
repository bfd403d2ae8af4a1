"""Runs every file of this folder, or those named: `python -m benchmarks [statistics ...]`."""

import importlib
import pkgutil
import sys

import benchmarks
from benchmarks.compare import RESULTS

NOT_BENCHMARKS = {"__main__", "compare", "determinism"}  # determinism claims no speed


def main() -> int:
    found = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in NOT_BENCHMARKS)
    asked = sys.argv[1:] or found
    if unknown := [name for name in asked if name not in found]:
        print(f"benchmark {unknown[0]!r} is not there: choose from {', '.join(found)}", file=sys.stderr)
        return 2
    for name in asked:
        importlib.import_module(f"benchmarks.{name}").main()
    print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
