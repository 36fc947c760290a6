"""The tree keeps its promises, and a planted violation of each is caught."""

from __future__ import annotations

import pytest
from py_trees.behaviour import Behaviour
from py_trees.common import Status
from py_trees.composites import Composite

from vla_bt import contract
from vla_bt.behaviours.driving import Idle
from vla_bt.behaviours.leaf import Leaf
from vla_bt.trees.root import ContractError, check_contract, create_root


def leaves(root: Behaviour) -> list[Leaf]:
    return [node for node in root.iterate() if isinstance(node, Leaf)]


def composite(root: Behaviour, child: int) -> Composite:
    found = root.children[child]
    assert isinstance(found, Composite)
    return found


def test_the_tree_is_made_with_no_robot_and_keeps_the_contract() -> None:
    root = create_root()
    assert [child.name for child in root.children] == ["Sense", "Guard memory", "Record", "Drive"]
    assert [child.name for child in root.children[3].children] == ["Protective stop", "Manual", "Hybrid", "VLA", "Idle"]
    assert all(isinstance(node, (Leaf, Composite)) for node in root.iterate())


def test_every_key_of_the_contract_is_written_and_every_reader_reads_it() -> None:
    found = leaves(create_root())
    written = {key for leaf in found for key in leaf.WRITES}
    assert written | {"request"} == set(contract.KEYS)
    for key in contract.KEYS.values():
        readers = {type(leaf).__name__ for leaf in found if key.name in leaf.READS}
        assert readers == set(key.readers) - {"compose", "RunLog"}, key.name


class Intruder(Leaf):
    """A leaf the contract doesn't know."""

    READS = ("mode",)
    WRITES = ("proposal_safety",)

    def update(self) -> Status:
        """Do nothing."""
        return Status.SUCCESS


class Stranger(Leaf):
    """A leaf with a key the contract doesn't know."""

    WRITES = ("pixels",)

    def update(self) -> Status:
        """Do nothing."""
        return Status.SUCCESS


def test_an_unknown_reader_and_a_second_writer_are_refused() -> None:
    root = create_root()
    composite(root, 0).add_child(Intruder("Intruder"))
    with pytest.raises(ContractError) as caught:
        check_contract(root)
    assert "'Intruder' (Intruder) reads 'mode'" in str(caught.value)
    assert "its only writer is ProtectiveStop" in str(caught.value)


def test_an_unknown_key_is_refused() -> None:
    root = create_root()
    composite(root, 0).add_child(Stranger("Stranger"))
    with pytest.raises(ContractError, match="'pixels', which is not in the contract"):
        check_contract(root)


def test_two_instances_of_one_writer_are_refused() -> None:
    root = create_root()
    composite(root, 3).add_child(Idle("Idle again"))
    with pytest.raises(ContractError, match="both write 'proposal_idle'"):
        check_contract(root)


def test_a_reader_without_its_writer_is_refused() -> None:
    root = create_root()
    sense = composite(root, 0)
    sense.remove_child(sense.children[1])
    with pytest.raises(ContractError, match="its writer TakeRequests is not in the tree"):
        check_contract(root)
