"""Records what the cases beside this file give natively: record.py [NAME...]

The sandbox must give the same: `packages.rs` compares. Those of numpy and of `compiled` take the versions that
packages.toml names, installed in the Python 3.11 that runs this.
"""

import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
warnings.simplefilter("ignore")
for path in sorted(HERE.glob("*_cases.py")):
    name = path.stem.removesuffix("_cases")
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    cases = {}
    exec((HERE / "answers.py").read_text() + path.read_text(), cases)
    said = cases["f"]()
    (HERE / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")
