"""Long jobs are generators of `Progress`; who runs one decides how its progress is shown.

The command line draws a bar, a widget a napari progress bar with a Cancel button. Closing the generator
cancels the job at its next yield, so a job yields at least once a batch and cleans up in ``finally``.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args, get_origin

from napari_cmrcnet.common.errors import UserError

S = TypeVar("S")
T = TypeVar("T")
REPORT = 0.1  # seconds between reports of what is waited for, and until Cancel is noticed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Parameters
    ----------
    step : str
        What is being done, as a person would say it: ``"Encoding patches"``.
    done, total : int
        Units done, and units to do in this step; a total of 0 means that it is not known.
    unit : str
        The plural name of a unit: ``"patches"``, ``"epochs"``.
    values : mapping of str to float
        Figures worth showing beside the bar, such as a loss.
    """

    step: str
    done: int
    total: int
    unit: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


def of_bytes(step: str, done: int, total: int) -> Progress:
    """Return how far a step is that takes so many bytes, in MB or kB."""
    unit, name = (10**6, "MB") if total > 20 * 10**6 else (10**3, "kB")
    return Progress(step, done // unit, total // unit, name)


Job = Generator[Progress, None, T]
"""A generator that yields `Progress` and returns its result."""


def in_turn(jobs: Iterable[Job[T]]) -> Job[list[T]]:
    """Run jobs one after another, and return what each returns."""
    results = []
    for job in jobs:
        results.append((yield from job))
    return results


def finish(job: Job[T], report: Callable[[Progress], None] | None = None) -> T:
    """Run a job to its end and return its result.

    Parameters
    ----------
    job : generator of Progress
        The job.
    report : callable, optional
        Called with each `Progress`. If it raises, the job is cancelled.

    Returns
    -------
    object
        What the job returns.
    """
    try:
        while True:
            progress = next(job)
            if report is not None:
                report(progress)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        job.close()


def to_the_end(job: Callable[..., Job[T]]) -> Callable[..., T]:
    """Turn a function that gives a job into one that runs the job and returns its result.

    Parameters
    ----------
    job : callable
        Such as a generator function.

    Returns
    -------
    callable
        It takes what the job takes, and ``progress``, a callable that is called with each `Progress`. If that raises,
        the job is cancelled. Where a class of this package is wanted and something else is given, such as a path, or
        one for a list, it raises `UserError`.
    """

    @functools.wraps(job)
    def run(*args: Any, progress: Callable[[Progress], None] | None = None, **kwargs: Any) -> T:
        for name, value in (*zip(own.parameters, args, strict=False), *kwargs.items()):
            if name in own.parameters:
                _check_class(job.__name__, own.parameters[name], value)
        return finish(job(*args, **kwargs), progress)

    own, keyword = inspect.signature(job), inspect.Parameter.KEYWORD_ONLY
    progress = inspect.Parameter("progress", keyword, default=None, annotation=Callable[[Progress], None] | None)
    returned = get_args(own.return_annotation)[-1]  # of Generator[Progress, None, T]
    parameters = [*own.parameters.values(), progress]
    run.__signature__ = own.replace(parameters=parameters, return_annotation=returned)  # type: ignore[attr-defined]
    return run


def _check_class(job: str, parameter: inspect.Parameter, value: object) -> None:
    several = get_origin(parameter.annotation) is Sequence
    classes = get_args(parameter.annotation) or (parameter.annotation,)
    if not all(isinstance(one, type) for one in classes) or not classes[0].__module__.startswith("napari_cmrcnet."):
        return  # numbers and paths come as too many types
    is_list = isinstance(value, list | tuple)
    wrong = [one for one in (value if is_list else [value]) if not isinstance(one, classes)]  # type: ignore[attr-defined]
    if wrong or is_list != several:
        wanted, given = ("a list of " if one else "" for one in (several, is_list))
        given += type((wrong or [value])[0]).__name__
        raise UserError(f"{job}() takes {wanted}{classes[0].__name__} as its {parameter.name}; you gave it {given}.")


def within(what: str, job: Job[T]) -> Job[T]:
    """Run a job as a part of another; each step says which part.

    Parameters
    ----------
    what : str
        Of what: ``"Training on all"``.
    job : generator of Progress
        The job; closed with this one.
    """
    try:
        while True:
            progress = next(job)
            yield replace(progress, step=f"{what}: {progress.step[:1].lower()}{progress.step[1:]}")
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        job.close()


def in_thread(function: Callable[[], T], progress: S) -> Generator[S, None, T]:
    """Do in a thread what may wait for long and reports nothing, such as asking a server.

    A job that is cancelled does not wait for the thread: it ends by itself, and must leave nothing behind.

    Parameters
    ----------
    function : callable
        What is done.
    progress : Progress
        Yielded while it is done; or anything else that the caller yields.

    Returns
    -------
    object
        What the function returns; what it raises is raised here.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  raised again where the result is used
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    while not future.done():
        wait([future], timeout=REPORT)
        yield progress
    return future.result()
