"""Which function does which fault."""

from __future__ import annotations

from collections.abc import Callable

from testbed.soak import fault_policy, fault_power, fault_wire, insiders
from testbed.soak.faults import Fault, Kind
from testbed.soak.world import World

_WAYS: dict[Kind, Callable[[World, str, float], None]] = {
    Kind.NOISE: fault_wire.noise,
    Kind.CUT: fault_wire.cut,
    Kind.DKS_CUT: fault_wire.dks_cut,
    Kind.REPLAY: fault_wire.replay,
    Kind.FORGE: fault_wire.forge,
    Kind.CLOCK: fault_wire.clock,
    Kind.CRASH: fault_power.crash,
    Kind.LOST_WRITE: fault_power.lost_write,
    Kind.OUTAGE: fault_power.outage,
    Kind.TORN: fault_power.torn,
    Kind.OLD_FILES: fault_power.old_files,
    Kind.FOLDER: fault_power.folder,
    Kind.DKS_CRASH: fault_power.dks_crash,
    Kind.OLD_LEDGER: fault_power.old_ledger,
    Kind.REKEY: fault_power.rekey,
    Kind.POLICY: fault_policy.policy,
    Kind.WORST: fault_policy.worst,
    Kind.DENY: fault_policy.deny,
    Kind.MODE: fault_policy.mode,
    Kind.ISSUER: fault_policy.issuer,
    Kind.REMOVE: fault_policy.remove,
    Kind.REMOVE_BY_HAND: fault_policy.remove_by_hand,
    Kind.REVOKE: fault_policy.revoke,
    Kind.FALSE_LIST: fault_policy.false_list,
    Kind.FALSE_DOCUMENT: fault_policy.false_document,
    Kind.LIE: insiders.lie,
    Kind.HAND: fault_policy.hand,
}


def do(world: World, fault: Fault) -> None:
    """Let it happen now."""
    _WAYS[fault.kind](world, fault.who, fault.size)


def liars_of(faults: tuple[Fault, ...]) -> set[str]:
    """Routers that do not keep to the protocols at some time, so that their own groups are theirs to spoil."""
    lying = {each.who for each in faults if each.kind is Kind.LIE}
    return lying | {each.who for each in faults if each.kind in (Kind.REMOVE, Kind.REMOVE_BY_HAND)}
