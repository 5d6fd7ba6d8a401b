"""What every test gets: a seed, two threads, and the real data where they are."""

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


@pytest.fixture(autouse=True)
def _seed_and_threads():
    """Seed torch and give it two threads, where a test module has loaded it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(1)
        torch.set_num_threads(2)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real survey files; the test is skipped where there is none."""
    folder = Path(os.environ.get("ASTROML_REALDATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set ASTROML_REALDATA)")
    return folder
