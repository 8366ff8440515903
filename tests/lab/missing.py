"""What a machine has to have for a test, and has not."""

import os
from typing import NoReturn

import pytest


def missing(message: str) -> NoReturn:
    """Skip the test, saying what is missing; under CI=true it fails, because there it is a broken set-up."""
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
