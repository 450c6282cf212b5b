"""An owner's table is refused where it could not be trusted, with the fix."""

from __future__ import annotations

import pytest

from evenwatt_agent.jobs.settings import JobsSettings, check_jobs
from evenwatt_agent.settings import load
from evenwatt_daemon import Failure

KEYS = 'private_key = "/k"\ntrust = "/t"\nroot = "/r"\n'
TOP = "[control]\nenabled = true\n" + KEYS + '[jobs]\nenabled = true\nuser = "nobody"\n'
ONE = TOP + '[[jobs.templates]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[jobs]\nenabled = true\nuser = "nobody"', "control is off"),
        (TOP.replace('user = "nobody"\n', ""), "'jobs.user' is missing"),
        (TOP.replace("nobody", "no-such-user"), "this machine does not know"),
        (TOP.replace("nobody", "root"), "who is root"),
        (TOP + "slots = 0", "slots"),
        (TOP + "colour = 1", "colour"),
        (TOP + 'work_dir = "jobs"', "absolute path"),
        (ONE, "exactly one of 'command', 'unit' and 'container'"),
        (ONE + 'command = ["/bin/true"]\nunit = "a.service"', "command and unit"),
        (ONE + 'command = ["true"]', "absolute path"),
        (ONE + 'command = ["/bin/{x}"]\nvalues = {x = "a"}', "absolute path"),
        (ONE + 'command = ["/bin/echo", "{x}"]', "'{x}' has no pattern"),
        (ONE + 'command = ["/bin/echo"]\nvalues = {x = "a"}', "values.x is used nowhere"),
        (ONE + 'command = ["/bin/echo", "{x}"]\nvalues = {x = "("}', "no regular expression"),
        (ONE + 'command = ["/bin/echo", "\\u0000"]', "NUL"),
        (ONE + 'unit = "../a.service"', "name a service"),
        (ONE + 'unit = "--now"', "name a service"),
        (ONE + 'unit = "a.target"', "name a service"),
        (ONE + 'unit = "a.service"\nenvironment = {A = "1"}', "drop-in"),
        (ONE + 'unit = "a.service"\nnice = 3', "belongs to a command"),
        (ONE + 'container = "--privileged"', "name an image"),
        (ONE + 'command = ["/bin/echo"]\noptions = ["x"]', "belong to a container"),
        (ONE + 'command = ["/bin/echo"]\nenvironment = {EVENWATT_RUN = "1"}', "EVENWATT_RUN"),
        (ONE + 'command = ["/bin/echo"]\nenvironment = {"A=B" = "1"}', "A=B"),
        (ONE + 'command = ["/bin/echo"]\ncheckpoint = {signal = "SIGUSR1"}', "not interruptible"),
        (ONE + 'command = ["/bin/echo"]\ninterruptible = true\ncheckpoint = {signal = "SIGKILL"}', "can be caught"),
        (ONE + 'command = ["/bin/echo"]\ninterruptible = true\ncheckpoint = {signal = "10"}', "can be caught"),
        (ONE + 'command = ["/bin/echo"]\nmax_s = 100000.0', "above jobs.max_run_s"),
        (ONE + 'command = ["/bin/echo"]\nslots = 2', "could never run"),
        (ONE + 'command = ["/bin/echo"]\nnice = -5', "nice"),
        (ONE + 'command = ["/bin/echo"]\ndirectory = "x"', "absolute path"),
        (ONE + 'command = ["/bin/echo"]\n[[jobs.templates]]\nname = "a"\ncommand = ["/bin/echo"]', "own name"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused_with_the_fix(text, why, tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(Failure) as caught:
        load(str(path))
    assert why in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_good_table_loads(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text(
        ONE + 'command = ["/usr/bin/python3", "train.py", "--epochs={epochs}", "{data}", \'{"json": 1}\']\n'
        'values = {epochs = "[0-9]{1,3}", data = "[a-z]+"}\ninterruptible = true\n'
    )
    template = load(str(path)).jobs.templates[0]
    assert template.saving is not None
    assert (template.saving.signal, template.saving.wait_s) == ("SIGTERM", 30.0)


def test_nothing_is_checked_while_jobs_are_off():
    check_jobs("x", JobsSettings(user="root"), control=False)
