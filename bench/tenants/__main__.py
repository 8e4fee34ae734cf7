"""What keeps tenants apart, with figures: who sees what, quotas, and shares of the slots. Floods follow, by `belljar-bench floods`.

    make bench-tenants

Starts services with three tenants and an attacker, and prints a table for each part. Exits with 1 if an answer is wrong, a quota is
not kept, or a share is unfair.
"""

import argparse
import sys
from pathlib import Path

from isolation import isolation
from quotas import quotas
from shares import beside_long_calls, fairness

PARTS = {"isolation": isolation, "quotas": quotas, "fairness": fairness, "long-calls": beside_long_calls}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--belljar", default="target/release/belljar")
    parser.add_argument("--mode", default="local")
    parser.add_argument("--tenants", type=int, nargs="*", default=[2, 30, 1000], metavar="N")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART")
    options = parser.parse_args()
    options.belljar = str(Path(options.belljar).resolve())
    wrong = {part: PARTS[part](options) for part in options.only}
    failed = [part for part, count in wrong.items() if count]
    if failed:
        print(f"\nnot as it should be: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
