"""Reads the kernel's banner from a dump with drgn, by the address that /proc/kallsyms gave: banner.py DUMP TRUTH.

That needs the dump's VMCOREINFO: drgn finds the kernel's page tables by it. Ends with 1 if the banner is another.
"""

import gzip
import json
import sys

import drgn

dump, folder = sys.argv[1:]
version = json.load(open(f"{folder}/truth.json"))["version"].strip()
with gzip.open(f"{folder}/kallsyms.gz", "rt") as symbols:
    address = next(int(line.split()[0], 16) for line in symbols if line.split()[2] == "linux_banner")
program = drgn.Program()
program.set_core_dump(dump)
banner = program.read_c_string(address, max_size=512).decode().strip()
print(f"{len(banner)} bytes at {address:#x}")
sys.exit(banner != version)
