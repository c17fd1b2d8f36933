"""`python -m localnet`, and `aitbc localnet` and ./localnet/start through it: the commands of a local network."""

import json
import signal
import sys
import time

import click

from localnet import processes
from localnet.layout import DEFAULT_BASE_PORT, DEFAULT_NODES, MAXIMUM_NODES, Layout, NodePlace, default_layout
from localnet.network import (
    IDLE_SECONDS,
    LocalnetError,
    command,
    create,
    log_tail,
    node_process,
    other_parameters,
    readiness,
    remove,
    start_node,
    stop_all,
    wait_ready,
)
from localnet.status import print_status, read_status

_FAUCET_AMOUNT = "100"


class _Group(click.Group):
    """Turns what can go wrong into a sentence, a hint and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LocalnetError as error:
            click.echo(f"Error: {error}\nHint: {error.hint}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Several nodes on this machine, with wallets, a demonstration and a provider agent."""
    context.obj = default_layout()


def _places(layout: Layout) -> list[NodePlace]:
    places = layout.nodes()
    if not places:
        raise LocalnetError("There is no local network yet.", "Make one with ./localnet/start")
    return places


def _place(layout: Layout, number: int) -> NodePlace:
    for place in _places(layout):
        if place.number == number:
            return place
    raise LocalnetError(f"There is no node {number}.", f"The network has nodes 1 to {len(_places(layout))}.")


@main.command("start")
@click.option("--nodes", default=DEFAULT_NODES, show_default=True, type=click.IntRange(1, MAXIMUM_NODES))
@click.option("--followers", default=0, show_default=True, type=click.IntRange(0, MAXIMUM_NODES))
@click.option("--base-port", default=DEFAULT_BASE_PORT, show_default=True, type=click.IntRange(1024, 60_000))
@click.option("--demo/--no-demo", default=True, show_default=True, help="Run the demonstration on a new network.")
@click.option("--agent/--no-agent", default=True, show_default=True, help="Run a provider agent for the miner.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=NUMBER", help="Such as epoch_blocks=20; repeatable."
)
@click.option(
    "--idle-seconds",
    default=IDLE_SECONDS,
    show_default=True,
    type=click.FloatRange(0.1, 3_600),
    help="Between blocks when nothing happens.",
)
@click.pass_obj
def start(
    layout: Layout,
    nodes: int,
    followers: int,
    base_port: int,
    demo: bool,
    agent: bool,
    parameters: tuple[str, ...],
    idle_seconds: float,
) -> None:
    """Make a network if there is none, start its nodes, and run the demonstration once.

    How many nodes, their ports and numbers count for a new network only; `reset` makes room for one.
    """
    places = layout.nodes()
    fresh = not places
    if fresh:
        chosen = other_parameters(parameters)
        remove(layout)
        click.echo(f"Making a network of {nodes} authorities in {layout.root}", err=True)
        places = create(layout, nodes, followers, base_port, chosen, idle_seconds)
    elif all(processes.is_running(place.pid_file) for place in places):
        click.echo("The local network is running already.\n", err=True)
        _ensure_agent(layout, wanted=agent)
        print_status(layout, read_status(layout))
        return
    for place in places:
        start_node(place)
    wait_ready(places)
    if fresh and demo:
        from localnet.demonstration import run

        run(layout)
    _ensure_agent(layout, wanted=agent)
    print_status(layout, read_status(layout))
    _print_whereabouts(layout)


def _ensure_agent(layout: Layout, *, wanted: bool) -> None:
    if wanted and not processes.is_running(layout.agent_pid_file):
        processes.start(
            [sys.executable, "-P", "-m", "localnet", "agent"],
            pid_file=layout.agent_pid_file,
            log=layout.agent_log,
            environment={"AITBC_LOCALNET_DIR": str(layout.root)},
        )


def _print_whereabouts(layout: Layout) -> None:
    folder = command("")[0].rstrip("/")
    click.echo(
        f"\nEverything is in {layout.root}:\n"
        "genesis.json, wallets/ (genesis, client and miner, whose words are published in\n"
        "localnet/README.md and worthless elsewhere, and an operator's for each node),\n"
        "and per node its configuration, keys, database and log. A provider agent keeps\n"
        "the miner's GPUs alive and activates what is booked; its log is agent.log.\n\n"
        "Put aitbc on your PATH and point it at the wallets; the client's is current:\n\n"
        f'  export PATH="{folder}:$PATH"\n'
        f'  export AITBC_WALLET_PATH="{layout.wallets}"\n\n'
        "Then for example:         aitbc marketplace gpu list --available\n"
        "Stop everything with:     ./localnet/stop"
    )


@main.command("stop")
@click.option("--reset", is_flag=True, help="Delete the network as well.")
@click.pass_obj
def stop(layout: Layout, reset: bool) -> None:
    """Stop the agent and every node."""
    count = stop_all(layout)
    click.echo(f"Stopped {count} processes." if count else "Nothing was running.", err=True)
    if reset:
        remove(layout)
        click.echo(f"Deleted {layout.root}", err=True)


@main.command("reset")
@click.confirmation_option(prompt="Delete the local network with its chain and wallets?")
@click.pass_obj
def reset(layout: Layout) -> None:
    """Stop everything and delete the network."""
    stop_all(layout)
    remove(layout)
    click.echo(f"Deleted {layout.root}", err=True)


@main.command("status")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def status(layout: Layout, output: str) -> None:
    """Where each node stands."""
    _places(layout)
    rows = read_status(layout)
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    else:
        print_status(layout, rows)


@main.command("watch")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.5, 60))
@click.pass_obj
def watch(layout: Layout, seconds: float) -> None:
    """Show the status again and again until interrupted."""
    _places(layout)
    while True:
        click.clear()
        print_status(layout, read_status(layout))
        time.sleep(seconds)


@main.command("logs")
@click.argument("number", type=int, required=False)
@click.option("--tail", default=20, show_default=True, type=click.IntRange(1, 1_000), help="Lines of each log.")
@click.pass_obj
def logs(layout: Layout, number: int | None, tail: int) -> None:
    """The end of every node's log and the agent's, or of one node's."""
    if number is not None:
        click.echo(log_tail(_place(layout, number).log, tail))
        return
    for place in _places(layout):
        click.echo(f"== {place.name} ({place.log})\n{log_tail(place.log, tail)}")
    click.echo(f"== agent ({layout.agent_log})\n{log_tail(layout.agent_log, tail)}")


@main.command("kill")
@click.argument("number", type=int)
@click.pass_obj
def kill(layout: Layout, number: int) -> None:
    """End a node at once (SIGKILL), as a power failure would."""
    place = _place(layout, number)
    node_process(place).kill()
    click.echo(f"Killed {place.name}.", err=True)


@main.command("pause")
@click.argument("number", type=int)
@click.pass_obj
def pause(layout: Layout, number: int) -> None:
    """Freeze a node (SIGSTOP)."""
    place = _place(layout, number)
    node_process(place).signal(signal.SIGSTOP)
    click.echo(f"Paused {place.name}.", err=True)


@main.command("resume")
@click.argument("number", type=int)
@click.pass_obj
def resume(layout: Layout, number: int) -> None:
    """Let a frozen node go on (SIGCONT)."""
    place = _place(layout, number)
    node_process(place).signal(signal.SIGCONT)
    click.echo(f"Resumed {place.name}.", err=True)


@main.command("restart")
@click.argument("number", type=int)
@click.pass_obj
def restart(layout: Layout, number: int) -> None:
    """Stop a node if it runs, and start it."""
    place = _place(layout, number)
    process = processes.remembered(place.pid_file)
    if process is not None and process.state != "stopped":
        process.stop()
    start_node(place)
    end = time.monotonic() + 10
    while readiness(place)[1] == "no answer" and processes.is_running(place.pid_file) and time.monotonic() < end:
        time.sleep(0.05)
    ready, reason = readiness(place)
    click.echo(f"Started {place.name}: {'ready' if ready else reason}.", err=True)


@main.command("faucet")
@click.argument("address")
@click.argument("amount", default=_FAUCET_AMOUNT)
@click.pass_obj
def faucet(layout: Layout, address: str, amount: str) -> None:
    """Send AMOUNT (100) AITBC of the genesis wallet to ADDRESS."""
    import subprocess

    place = _places(layout)[0]
    arguments = ["--yes", "--node", place.url, "--wallet-path", str(layout.wallets), "--wallet", "genesis"]
    done = subprocess.run(
        command("aitbc", *arguments, "wallet", "send", address, amount, "--desc", "faucet"), check=False
    )
    sys.exit(done.returncode)


@main.command("agent", hidden=True)
@click.pass_obj
def agent(layout: Layout) -> None:
    """The provider agent, in the foreground."""
    from localnet.agent import main as run_agent

    run_agent(layout)


main.add_command(start, "up")
main.add_command(stop, "down")

if __name__ == "__main__":
    main(prog_name="aitbc localnet")
