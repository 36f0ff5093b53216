# Run by gdb: prints one JSON object a thread, with every frame from the inside out.
import gdb
import json

MOST = 600

KINDS = {
    gdb.INLINE_FRAME: "inlined",
    gdb.TAILCALL_FRAME: "tail",
    gdb.SIGTRAMP_FRAME: "signal",
}


def frames():
    found = []
    try:
        frame = gdb.newest_frame()
        while frame is not None and len(found) < MOST:
            found.append({"pc": frame.pc(), "name": frame.name(), "kind": KINDS.get(frame.type(), "normal")})
            frame = frame.older()
    except gdb.error as error:
        return found, str(error)
    return found, None


for thread in gdb.selected_inferior().threads():
    thread.switch()
    found, error = frames()
    pid, lwp, tid = thread.ptid
    print("\nTHREAD " + json.dumps({"tid": lwp or pid, "frames": found, "error": error}))
