"""What every test gets: a seed, one thread, and the real data where they are."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch

# New examples are for people to look for; CI asks the same questions every time.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def _few_threads():
    """Small networks gain nothing from a second thread, and lose much on a busy machine."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(1)
        torch.set_num_threads(1)


# Before the fixtures of a module, and again before each test: a test may have changed it.
@pytest.fixture(autouse=True, scope="module")
def _module_threads():
    _few_threads()


@pytest.fixture(autouse=True)
def _seed_and_threads(_module_threads):
    _few_threads()


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real survey files; the test is skipped where there is none."""
    folder = Path(os.environ.get("ASTROML_REALDATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set ASTROML_REALDATA)")
    return folder
