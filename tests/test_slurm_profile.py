"""What the SLURM profile promises, read off the profile and the rules; tests/slurm.py runs it."""

import re
from pathlib import Path

import pytest
import yaml

PROFILE = yaml.safe_load(Path("workflow/profiles/slurm/profile.v9+.yaml").read_text())
RULES = "\n".join(path.read_text() for path in sorted(Path("workflow/rules").glob("*.smk")))
USUAL, OWN = PROFILE["default-resources"], PROFILE["set-resources"]


def rules() -> dict[str, str]:
    """Return the text of each rule by its name; one that uses another has the other's too."""
    texts = re.split(r"^(?:use )?rule ", RULES, flags=re.MULTILINE)[1:]
    found = {}
    for text in texts:
        name, _, other = re.match(r"(\w+)( as (\w+))?", text).groups()
        found[other or name] = text + (found[name] if other else "")
    return found


@pytest.mark.parametrize("rule", sorted(rules()))
def test_gpu_jobs_and_no_others_go_to_the_gpus(rule):
    partition = (USUAL | OWN.get(rule, {}))["slurm_partition"]
    asks = "gpu=" in rules()[rule]
    assert partition == ("gpu" if asks else "cpu")


def test_every_setting_is_of_a_rule():
    assert set(OWN) | set(PROFILE["groups"]) <= set(rules())
    assert set(PROFILE["groups"].values()) == set(PROFILE["group-components"])


@pytest.mark.parametrize("name", ["mem_mb", "runtime"])
def test_each_attempt_asks_for_more_and_the_last_fits_a_node(name):
    for told in (USUAL, *OWN.values()):
        law = (USUAL | told)[name]
        asked = [eval(law, {"attempt": attempt}) for attempt in range(1, PROFILE["retries"] + 2)]
        assert asked == sorted(set(asked))
        assert name != "mem_mb" or asked[-1] <= PROFILE["resources"]["mem_mb"]


def test_preempted_jobs_are_queued_again():
    assert PROFILE["slurm-requeue"]
    assert PROFILE["rerun-incomplete"]
    assert PROFILE["retries"] > 0
