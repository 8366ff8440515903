"""A clock that leaps: an hour of timers takes no time."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _LeapingSelector(selectors.DefaultSelector):
    """Waits for no timer: where the loop would sleep, its clock moves on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing is going to happen")
        self.now += max(timeout, 0.0)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def in_virtual_time(scenario: Coroutine[Any, Any, Result]) -> Result:
    """Run it to its end on a loop whose sleeping costs nothing; fails if a task is left over."""

    async def tidy() -> Result:
        result = await scenario
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left running: {left}"
        return result

    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(tidy())


def seconds() -> float:
    """The virtual clock's time."""
    return asyncio.get_running_loop().time()
