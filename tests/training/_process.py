"""Trains in a process of its own, as the command line would, so that tests can kill it.

``python _process.py {"settings": [...], "out": ..., "resume": ..., "slow": seconds per step}``
"""

from __future__ import annotations

import json
import sys
import time


def main() -> int:
    request = json.loads(sys.argv[1])
    from drawgan_fast.errors import DrawganError
    from drawgan_fast.training import load_config, train
    from drawgan_fast.training.trainer import Trainer

    step = Trainer._train_step

    def slow_step(self: Trainer, x: object) -> object:
        time.sleep(request.get("slow", 0))
        return step(self, x)

    Trainer._train_step = slow_step
    config = None if request.get("resume") else load_config("quick", settings=request["settings"])
    try:
        result = train(config, out=request.get("out"), resume=request.get("resume"))
    except DrawganError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
