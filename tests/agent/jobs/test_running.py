"""Work runs on command: started, watched, told, counted, stopped."""

from __future__ import annotations

from evenwatt_wire import RunState
from evenwatt_wire.command import Code
from tests.support import eventually


async def birth(ear):
    return (await eventually(lambda: ear.births, "the node is born"))[-1]


async def test_a_command_runs_and_is_told(yard, ear):
    program = yard.program(
        "work", 'echo "hello $1"; id -u; umask; pwd; echo "128 images" >&$EVENWATT_UNITS_FD; env; sleep 2'
    )
    yard.write_jobs({"name": "greet", "command": [program, "{who}"], "values": {"who": "[a-z]+"}})
    async with ear() as heard:
        with yard.agent():
            born = await birth(heard)
            assert [t.name for t in born.templates] == ["greet"]
            assert born.job_slots == 4
            command, payload = yard.start("greet", [("who", "world")], name="demo", workload="w")
            answer = await heard.ask((command, payload))
            assert (answer.code, answer.detail) == (
                Code.ACCEPTED,
                f"run {command.job.run} of template greet is started",
            )
            await heard.report(command.job.run, RunState.RUNNING)
            end = await heard.report(command.job.run, RunState.ENDED)
            print(end, heard.log(command.job.run))
            assert end.exit_code == 0
            assert dict(end.units) == {"images": 128.0}
