"""Progress of long work, a line at a time: log files and notebooks stay readable, and the time left is always known."""

import time


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress:
    """Prints ``label done/total, time gone, time left`` at most once in ``every_s`` seconds, and once at the end.

    ``start`` is the count already done when work resumes: it counts as done, but not towards the speed. Where nobody knows how
    much there is, ``total`` is None: the lines say what is done, and there is no last one.
    """

    def __init__(self, total: int | None, label: str, every_s: float = 10.0, start: int = 0):
        self.total, self.label, self.every_s = total, label, every_s
        self.done = self.start = start
        self.began = self.printed = time.monotonic()

    def step(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more units as done; ``note`` is printed behind the line."""
        self.done += n
        now = time.monotonic()
        if now - self.printed < self.every_s and self.done != self.total:
            return
        self.printed = now
        gone = now - self.began
        of = left = ""
        if self.total is not None:
            of = f"/{self.total}"
            left = f", {duration(gone / max(self.done - self.start, 1) * (self.total - self.done))} left"
        tail = f"  {note}" if note else ""
        print(f"{self.label} {self.done}{of}, {duration(gone)}{left}{tail}", flush=True)
