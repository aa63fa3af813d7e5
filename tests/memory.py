"""Peak memory of a process, measured inside it."""

PEAK_MIB = """
def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""
"""Source of ``peak_mib()`` for a child's script. ``ru_maxrss`` would not do: it begins with the parent's peak."""
