"""Prefect: ``make`` fills its server's database, ``use`` reads the old runs and writes new ones."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from prefect import flow, get_client, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.system import Secret
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    GlobalConcurrencyLimitCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.variables import Variable


@task(tags=["limited"])
def double(number):
    return 2 * number


@flow
def doubling(number, note="\U0001f680 'ü'"):
    create_markdown_artifact(f"# {number}\n{note}", key="note", description=note)
    create_table_artifact([{"n": number, "x": 1.5, "nothing": None}], key="table")
    return double(number)


@flow
def failing():
    raise ValueError("as it is meant to")


def make():
    for number in range(3):
        doubling(number)
    failing(return_state=True)
    Variable.set("plain", "a value")
    Variable.set("nested", {"ü": [1, None, 1.5, True]})
    Secret(value="hidden").save("password")
    asyncio.run(plan())


async def plan():
    async with get_client() as client:
        await client.create_concurrency_limit("limited", 3)
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name="all", limit=5, slot_decay_per_second=0.25)
        )
        await client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
        flow_id = await client.create_flow(doubling)
        for name, schedule in (
            ("by cron", CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin")),
            ("by interval", IntervalSchedule(interval=timedelta(minutes=90))),
        ):
            deployment = await client.create_deployment(
                flow_id,
                name,
                work_pool_name="pool",
                parameters={"number": 7},
                tags=["nightly"],
                schedules=[DeploymentScheduleCreate(schedule=schedule, active=False)],
            )
        await client.create_flow_run_from_deployment(deployment)


async def read():
    async with get_client() as client:
        for run in sorted(await client.read_flow_runs(), key=lambda run: run.created):
            print(
                run.id, run.name, sorted(run.parameters.items()), run.state, run.tags, run.created
            )
            print(run.start_time, run.total_run_time, run.estimated_run_time)
            for state in await client.read_flow_run_states(run.id):
                print(state.type, state.name, state.message, state.timestamp, state.state_details)
        for run in sorted(await client.read_task_runs(), key=lambda run: run.created):
            print(run.id, run.name, run.state, run.task_inputs, run.total_run_time)
        for artifact in sorted(await client.read_artifacts(), key=lambda one: one.created):
            print(artifact.key, artifact.type, artifact.data, artifact.description)
        for deployment in sorted(await client.read_deployments(), key=lambda one: one.name):
            print(deployment.name, deployment.parameters, deployment.tags, deployment.schedules)
        print(await client.read_concurrency_limit_by_tag("limited"))
        print(await client.read_global_concurrency_limit_by_name("all"))
        print(await client.read_work_pool("pool"))
        print(len(await client.read_logs()))


async def count():
    async with get_client() as client:
        return [
            len(rows)
            for rows in (
                await client.read_flow_runs(),
                await client.read_task_runs(),
                await client.read_artifacts(),
            )
        ]


def use():
    asyncio.run(read())
    print(Variable.get("plain"), Variable.get("nested"), Secret.load("password").get())
    print(doubling(21))
    Variable.set("plain", "another", overwrite=True)
    Secret(value="new").save("other")
    print(Variable.get("plain"), Secret.load("other").get(), asyncio.run(count()))


if __name__ == "__main__":
    {"make": make, "use": use}[sys.argv[1]]()
