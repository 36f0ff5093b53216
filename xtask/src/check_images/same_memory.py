"""Compares memory with what drgn reads: same_memory.py DUMP IMAGE.

DUMP is what drgn opens, IMAGE a LiME file of the same memory. Every byte of IMAGE must be at its physical address in
DUMP. Prints the bytes compared and their SHA-256, or fails with the first difference.
"""
import hashlib
import struct
import sys

import drgn

dump, image = sys.argv[1:3]
program = drgn.Program()
program.set_core_dump(dump)
digest = hashlib.sha256()
total = 0
with open(image, "rb") as file:
    while head := file.read(32):
        magic, version, start, last, _ = struct.unpack("<IIQQQ", head)
        if (magic, version) != (0x4C694D45, 1):
            sys.exit(f"no LiME range at {file.tell() - 32}")
        at = start
        while at <= last:
            size = min(1 << 20, last + 1 - at)
            ours = file.read(size)
            theirs = program.read(at, size, True)
            if ours != theirs:
                offset = next(i for i in range(size) if ours[i] != theirs[i])
                sys.exit(f"physical {at + offset:#x}: {ours[offset:offset + 8].hex()} is {theirs[offset:offset + 8].hex()} in drgn")
            digest.update(ours)
            total += size
            at += size
print(total, digest.hexdigest())
