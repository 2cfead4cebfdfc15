"""Performs the faults of a soak: those of a simulation alone here, the others as every simulation does."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.faults import simulated, steps
from testbed.simulation.performer import perform
from testbed.soak import fault_policy, fault_power, fault_wire, insiders
from testbed.soak.world import World


def do(world: World, step: steps.Step) -> None:
    """Let it happen now."""
    match step:
        case simulated.Noise():
            fault_wire.noise(world, step)
        case simulated.ReplayDatagrams():
            fault_wire.replay(world, step)
        case simulated.AlterDatagrams():
            fault_wire.alter(world, step)
        case simulated.CrashAtEffect():
            fault_power.crash(world, step)
        case simulated.LoseWrite():
            fault_power.lose_write(world, step)
        case simulated.TornCounters():
            fault_power.torn(world, step)
        case simulated.OldFile():
            fault_power.old_file(world, step)
        case simulated.OldFolder():
            fault_power.old_folder(world, step)
        case simulated.OldLedger():
            fault_power.old_ledger(world)
        case simulated.Rekey():
            fault_power.rekey(world, step.router)
        case simulated.NewDocuments():
            fault_policy.new_documents(world, step)
        case simulated.HandDocuments():
            fault_policy.hand_documents(world, step)
        case simulated.HandList():
            fault_policy.hand_list(world, step)
        case simulated.LinkDeny():
            fault_policy.deny(world, step)
        case simulated.SegmentMode():
            fault_policy.set_mode(world, step)
        case simulated.Issuer():
            fault_policy.set_issuer(world, step)
        case simulated.Deafen():
            world.deafen(step.router)
        case simulated.FalseList():
            fault_policy.false_list(world, step)
        case simulated.FalseDocument():
            fault_policy.false_document(world, step)
        case simulated.Lie():
            insiders.lie(world, step)
        case _:
            world.about_to(step)
            perform(world, step)


def liars_of(faults: Iterable[steps.Step]) -> set[str]:
    """Routers that do not keep to the protocols at some time, so that their own groups are theirs to spoil."""
    return {each.router for each in faults if isinstance(each, simulated.Lie | steps.RouterRemove)}
