"""Reads a minidump with the package `minidump`: threads and modules as JSON, memory into a file of
(address, length, bytes), numbers as 64-bit little-endian."""
import json
import struct
import sys

from minidump.minidumpfile import MinidumpFile

dump = MinidumpFile.parse(sys.argv[1])
segments = []
for memory in (dump.memory_segments_64, dump.memory_segments):
    if memory is not None:
        segments += memory.memory_segments
with open(sys.argv[2], "wb") as out:
    for segment in segments:
        data = segment.read(segment.start_virtual_address, segment.size, dump.file_handle)
        if len(data) != segment.size:
            sys.exit(f"segment {segment.start_virtual_address:#x}: {len(data)} of {segment.size} bytes")
        out.write(struct.pack("<QQ", segment.start_virtual_address, segment.size))
        out.write(data)
print(json.dumps({
    "threads": [thread.ThreadId for thread in dump.threads.threads],
    "stacks": [[thread.Stack.StartOfMemoryRange, thread.Stack.MemoryLocation.DataSize] for thread in dump.threads.threads],
    "modules": [[module.baseaddress, module.size, module.name] for module in dump.modules.modules],
    "full": dump.memory_segments_64 is not None,
    "infos": len(dump.memory_info.infos) if dump.memory_info is not None else 0,
}))
