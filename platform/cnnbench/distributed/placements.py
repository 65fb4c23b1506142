"""The places on a cluster that trials wait for, and those that dead ones have left behind."""

import ray
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup


def waited_for() -> str | None:
    """What trials of this Ray wait for, and what it has; None if everything that was asked for is there."""
    pending = [
        resources
        for group in placement_group_table().values()
        if group["state"] in ("PENDING", "RESCHEDULING")
        for resources in group["bundles"].values()
    ]
    free, there = ray.available_resources(), ray.cluster_resources()
    wanted = {name: sum(bundle.get(name, 0.0) for bundle in pending) for name in ("CPU", "GPU")}
    said = (
        f"{amount:g} {name}s are wanted, {free.get(name, 0.0):g} of {there.get(name, 0.0):g} are free"
        for name, amount in wanted.items()
        if amount
    )
    return "; ".join(said) or None


def free_orphans() -> int:
    """Gives back what this driver's dead actors had reserved, and says how many reservations that were.

    Ray keeps the reservation of an actor that died for as long as its driver lives. Ray Train reserves for the ranks of
    a trial, and ends with the trial that began it; what it starts to clean up behind it needs Ray's dashboard.
    """
    mine = ray.get_runtime_context().get_job_id()
    accessor = ray._private.state.state._connect_and_get_accessor()
    found = [PlacementGroupTableData.FromString(each) for each in accessor.get_placement_group_table()]
    orphans = [
        group
        for group in found
        if group.creator_job_id.hex() == mine and not ray.ActorID(group.creator_actor_id).is_nil()
        and group.creator_actor_dead and not group.is_detached and group.state != PlacementGroupTableData.REMOVED
    ]  # fmt: skip
    for group in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(orphans)
