"""How many threads are worth starting here."""

import os


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Threads for one model or for reading pictures: all cores up to four, beyond which small pictures gain nothing."""
    return min(usable_cores(), 4)
