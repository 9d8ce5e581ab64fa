"""Compiler launcher: runs nvcc, and keeps what ptxas says of every kernel beside the object.

``benchmarks.cuda_resources`` makes a table of it. Everything else is shown as it came.
"""

import re
import subprocess
import sys

command = sys.argv[1:]
done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
# "ptxas info : ..." and the line of stack and spills that follows each function's.
kept = re.compile(r"ptxas info\b|\s+\d+ bytes stack frame")
lines = done.stderr.splitlines()
sys.stderr.write("".join(f"{line}\n" for line in lines if not kept.match(line)))
if "-o" in command:
    target = command[command.index("-o") + 1]
    if target.endswith(".o"):
        with open(f"{target}.ptxas.txt", "w") as file:
            file.writelines(f"{line}\n" for line in lines if kept.match(line))
sys.exit(done.returncode)
