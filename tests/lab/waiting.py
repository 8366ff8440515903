"""Waiting on a condition instead of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

Value = TypeVar("Value")

_POLL_SECONDS = 0.02


async def eventually(
    check: Callable[[], Value | Awaitable[Value]],
    timeout: float = 20.0,  # noqa: ASYNC109 -- asyncio.timeout couldn't say what the last value was
) -> Value:
    """Poll `check`, plain or async, until what it returns is true, and return that.

    An AssertionError from `check` counts as "not yet". Fails the test after `timeout` seconds, with the last value.
    A `check` that hangs is cut off by the same deadline.
    """
    last = "it never returned"
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    value = check()
                    if inspect.isawaitable(value):
                        value = await value
                except AssertionError as error:
                    last = f"AssertionError: {error}"
                else:
                    if value:
                        return value
                    last = repr(value)
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        pytest.fail(f"Not true within {timeout:g} s: {_name(check)}; last: {last}")


async def come_true(check: Callable[[], Awaitable[bool]], timeout: float = 60.0) -> None:  # noqa: ASYNC109 -- as above
    """Wait until `check` is true. Other processes take part in it, on a machine that may be busy."""
    _: bool = await eventually(check, timeout)


def _name(check: Callable[..., object]) -> str:
    name = getattr(check, "__qualname__", repr(check))
    code = getattr(check, "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"
