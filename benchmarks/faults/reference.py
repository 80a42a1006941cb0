"""What a job writes without a fault, and what is wrong with what it left after one."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.forked import FAILING, FULL, READ_ONLY, SHORT, Ended, Listing, fork, leftovers, listing, renew
from benchmarks.faults.jobs import Written
from benchmarks.faults.whole import whole

RANDOM = 8  # killed at any moment, beside the modes of `forked`


@dataclass(frozen=True)
class Reference:
    """A job that ran without a fault, and what to compare with.

    Parameters
    ----------
    place : Path
        Where each run takes place: always the same, as paths are part of what is written.
    template : Path
        The folder before the run.
    job : Written
        What runs.
    new_run : Ended
        The run without a fault.
    old, new : dict
        Files before and after it.
    """

    place: Path
    template: Path
    job: Written
    new_run: Ended
    old: Listing
    new: Listing

    @classmethod
    def of(cls, folder: Path, sound: Path, job: Written) -> "Reference":
        """Run the job without a fault."""
        place, template = folder / "place", folder / f"before {id(job)}"
        renew(place, sound)
        before = fork(job.before, place)
        assert before.code == 0, before.said
        shutil.copytree(place, template)
        ended = fork(job.run, place)
        assert ended.code == 0, ended.said
        reference = cls(place, template, job, ended, listing(template), listing(place))
        for name, content in reference.new.items():
            assert (problem := whole(name, content)) is None, f"{name}: {problem}"
        assert not leftovers(place)
        return reference

    def bears(self, how: int, call: int, part: float) -> tuple[str, str]:
        """Run the job with a fault, and return what came of it: "sound", or what is wrong, and details."""
        renew(self.place, self.template)
        if how == RANDOM:
            ended = fork(self.job.run, self.place, after_s=part * self.new_run.seconds)
        else:
            ended = fork(self.job.run, self.place, how, call)
        failing = how in (FULL, FAILING, READ_ONLY, SHORT)
        if problem := ended.problem or ("killed by the system" if failing and ended.code < 0 else ""):
            return problem, ended.said[-400:]
        found = listing(self.place)
        if problem := self.problem(found):
            return "not whole", problem
        if ended.code == 1 and how == FULL and (left := leftovers(self.place)):
            return "left files", " ".join(left)
        if how == SHORT and ended.code != 0:
            return "gave up", ended.said[-200:]
        return self.next_run()

    def next_run(self) -> tuple[str, str]:
        """Run the job without a fault on what one before has left, and return what came of it."""
        after = fork(self.job.again or self.job.run, self.place)
        if after.code != 0:
            return "next run fails", after.said[-300:]
        if left := leftovers(self.place):
            return "next run leaves", " ".join(left)
        found = listing(self.place)
        if problem := self.problem(found):
            return "next run not whole", problem
        if set(found) != set(self.new):
            return "next run differs", " ".join(sorted(set(found) ^ set(self.new)))
        return "sound", ""

    def problem(self, found: Mapping[str, bytes]) -> str:
        """Say what is neither old nor new."""
        for name, content in found.items():
            hidden = any(part.startswith(".") for part in name.split("/"))
            if hidden or content == self.old.get(name) or content == self.new.get(name):
                continue
            if (problem := whole(name, content)) is not None:
                return f"{name} {problem}"
        marker = self.job.marker
        for name in self.old:
            if name in self.new and name not in found and name != marker:
                return f"{name} is gone"
        if marker and found.get(marker) == self.old[marker]:
            changed = [name for name in self.old if found.get(name) != self.old[name]]
            return f"{changed[0]} is new beside an old {marker}" if changed else ""
        return ""
