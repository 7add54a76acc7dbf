"""Shared by the whole suite: builds are cached in a folder of this session, and Hypothesis repeats itself."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "edgephys",
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edgephys")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep cached builds out of the user's cache unless EDGEPHYS_CACHE says where they go."""
    if os.environ.get("EDGEPHYS_CACHE"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPHYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
