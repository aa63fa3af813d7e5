"""How many processors this process may really use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores(cgroup_root: str = "/sys/fs/cgroup", own_cgroups: str = "/proc/self/cgroup") -> int:
    """Processors by affinity, bounded by the cgroup's CPU quota (versions 1 and 2), at least 1.

    A container with ``--cpus 2`` on a large host sees all of the host's processors; only the quota tells.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroup_folders(cgroup_root, own_cgroups) for quota in _quotas(folder)]
    return max(1, min([cores, *(int(-(-quota // 1)) for quota in quotas)]))


def _cgroup_folders(root: str, own: str) -> list[Path]:
    """The process's cgroup and its parents, as seen from inside or outside a container."""
    folders = {Path(root), Path(root, "cpu")}
    try:
        lines = Path(own).read_text().splitlines()
    except OSError:
        return sorted(folders)
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = Path(root, "cpu") if controllers else Path(root)
        if controllers and "cpu" not in controllers.split(","):
            continue
        relative = Path(path.lstrip("/"))
        folders.update(base / parent for parent in (relative, *relative.parents))
    return sorted(folders)


def _quotas(folder: Path) -> list[float]:
    """CPU quotas, in processors, that the files of one cgroup folder state."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return []
    return [int(quota) / int(period)] if quota.isdigit() and int(period) > 0 else []
