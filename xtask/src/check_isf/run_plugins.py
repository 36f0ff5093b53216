"""Runs plugins of volatility3 one after another in one process, each as the command line would.

run_plugins.py IMAGE SYMBOLS CACHE OUT PLUGIN... ; a plugin may have arguments behind it, with spaces between.
Writes OUT/PLUGIN.json and OUT/PLUGIN.err, and a line for each to standard output: name, status, seconds.

Trap: volatility3 checks a symbol file against the schema once, which takes minutes, and remembers it in CACHE.
"""

import contextlib
import io
import logging
import os
import sys
import time
import traceback

from volatility3.cli import CommandLine

image, symbols, cache, out, *plugins = sys.argv[1:]
for folder in (cache, out):
    os.makedirs(folder, exist_ok=True)
for plugin in plugins:
    name, *more = plugin.split(" ")
    sys.argv = ["vol", "-q", "--offline", "--cache-path", cache, "-s", symbols, "-r", "json", "-o", out, "-f", image, name]
    sys.argv += more
    text, errors = io.StringIO(), io.StringIO()
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)
    start, status = time.time(), 0
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(errors):
            CommandLine().run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        status = 99
        errors.write(traceback.format_exc())
    with open(f"{out}/{name}.json", "w") as file:
        file.write(text.getvalue())
    with open(f"{out}/{name}.err", "w") as file:
        file.write(errors.getvalue())
    print(f"{name}\t{status}\t{time.time() - start:.1f}", flush=True)
