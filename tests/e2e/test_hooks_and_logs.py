"""Users' hooks run, and users' logs read, as they do without us: our own hooks leave no line behind."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from expops_prefect.tracking.hooks import HOOK_PREFIX
from tests.support.processes import FlowProject

FLOW = """
import sys
import logging
from {package} import flow, task
from prefect import get_run_logger

EVENTS = []


def user_hook(subject, run, state):
    EVENTS.append(f"{{subject.name}} {{state.name}} {{run.start_time is not None}}")


async def async_hook(subject, run, state):
    EVENTS.append(f"async {{subject.name}} {{state.name}}")


def raising_hook(subject, run, state):
    raise RuntimeError("in a user's hook")


def hooks():
    return dict(on_completion=[user_hook, async_hook], on_failure=[user_hook])


@task(on_running=[user_hook], **hooks())
def good(x):
    get_run_logger().info("a user's line")
    print("printed")
    return x


@task(retries=1, **hooks())
def bad(x):
    raise ValueError("on purpose")


@task(on_completion=[raising_hook, user_hook])
def disturbed(x):
    return x


@task
def hookless(x):
    return x


@good.on_completion
def added_later(subject, run, state):
    EVENTS.append("added later")


renamed = good.with_options(name="renamed")
replaced = good.with_options(name="replaced", on_completion=[async_hook])


@flow(log_prints=True, on_running=[user_hook], on_crashed=[user_hook], on_cancellation=[user_hook], **hooks())
def main():
    good(1)
    good(1)
    renamed(2)
    replaced(3)
    bad(1, return_state=True)
    disturbed(1)
    hookless(1)


@flow(**hooks())
def failing():
    hookless(2)
    raise ValueError("the flow")


main()
failing(return_state=True)
try:
    flow(name="crashes", on_crashed=[user_hook], on_failure=[user_hook])(lambda: sys.exit(3))()
except SystemExit:
    pass
for event in EVENTS:
    print("EVENT", event)
"""

# What differs from run to run.
_RUN_NAME = re.compile(r"(?<=[Ff]low run )'[a-z-]+'|(?<=-)[0-9a-f]{3}(?=')")


# Ours, and what Prefect says of events that it has not sent when a process ends.
_LATE = re.compile(r"prefect\.expops|EventsWorker")


def lines(shop: FlowProject, package: str) -> tuple[list[str], list[str]]:
    """What the users' hooks noted, and what Prefect's loggers of runs printed."""
    shop.write(f"{package}_hooks.py", FLOW.format(package=package))
    output = shop.run(f"{package}_hooks.py").ok().output.splitlines()
    events = [line for line in output if line.startswith("EVENT ")]
    logged = [line.split(" | ", 2)[1:] for line in output if line.count(" | ") >= 2]
    said = [" | ".join(part.strip() for part in parts) for parts in logged if not _LATE.search(parts[1])]
    return events, [_RUN_NAME.sub("<run>", line) for line in said if "View at" not in line]


_OURS = re.compile(
    r"Task run '.*' - Finished in state .*(; (from the cache: computed \d+ seconds? ago by "
    r"project-shop[\w-]*-\d{14}-[0-9a-f]{8}))$"
)


def test_hooks_and_log_lines_are_those_of_prefect_alone(shop: FlowProject) -> None:
    events, said = lines(shop, "prefect")
    assert "EVENT added later" in events
    assert sum("Running hook" in line for line in said) > 15
    our_events, our_lines = lines(shop, "expops_prefect")
    # The line that ends a task run says who computed its result. Of one that is executed it says nothing
    # that goes without saying.
    ends = [line for line in our_lines if "Finished in state" in line and "Task run" in line]
    told = [line for line in ends if _OURS.search(line)]
    assert told == [line for line in ends if "in state Cached" in line]
    assert not any("executed" in line for line in our_lines)
    our_lines = [line.removesuffix(match[1]) if (match := _OURS.search(line)) else line for line in our_lines]
    # The second call of good is a hit with us: its hooks see the state that Prefect gives hits.
    hit = our_events.index("EVENT good Cached True")
    assert our_events[hit + 1] == "EVENT async good Cached"
    assert [event.replace("Cached", "Completed") for event in our_events] == events
    cached = [line for line in our_lines if "Cached" in line]
    assert len(cached) >= 3
    # A hit has no body that logs, so two lines are missing; nothing else differs.
    expected = list(said)
    for text in ("a user's line", "printed"):
        places = [place for place, line in enumerate(expected) if line.endswith(text)]
        del expected[places[1]]
    ours = [
        line.replace("Cached(type=COMPLETED)", "Completed()").replace("'Cached'", "'Completed'") for line in our_lines
    ]
    assert ours == expected


WITHOUT_DECORATORS = """
from prefect.task_runners import ProcessPoolTaskRunner

from expops_prefect.decorators import ExpOpsFlow, ExpOpsTask


def double(x):
    return 2 * x


def body():
    return twice.map([1, 2]).result()


twice = ExpOpsTask(double)
main = ExpOpsFlow(body, task_runner=ProcessPoolTaskRunner(max_workers=1))

if __name__ == "__main__":
    main()
"""


def test_tasks_that_no_decorator_has_made_here_are_as_quiet(shop: FlowProject) -> None:
    """As those of an ExpOps project are, and in a worker process those of a program."""
    shop.write("main.py", WITHOUT_DECORATORS)
    output = shop.run("main.py").ok().output
    assert output.count("Finished in state Completed()\n") == 3  # two task runs and the flow run
    assert HOOK_PREFIX not in output


def test_where_a_line_was_logged_is_still_known() -> None:
    logger, kept = logging.getLogger("prefect.task_runs"), _Kept(logging.INFO)
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    try:
        logging.LoggerAdapter(logger, {}).info("Running hook %r", "users_hook")
        logger.info(f"Running hook '{HOOK_PREFIX}task_end'")
        logger.warning(f"Hook '{HOOK_PREFIX}task_end' failed")
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)
    assert [record.getMessage()[:12] for record in kept.records] == ["Running hook", "Hook '_expop"]
    assert {record.filename for record in kept.records} == {Path(__file__).name}


class _Kept(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
