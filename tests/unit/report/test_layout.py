"""The places of the rounds in the drawing."""

from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.report.layout import COLUMN, LINE, lay_out


@st.composite
def trees(draw):
    size = draw(st.integers(1, 60))
    return {0: None} | {node: draw(st.integers(0, node - 1)) for node in range(1, size)}


def path_to(parents, node):
    path = set()
    while node is not None:
        path.add(node)
        node = parents[node]
    return path


@given(trees(), st.data())
def test_every_round_has_a_place_of_its_own_to_the_right_of_its_parent(parents, data):
    best = data.draw(st.sampled_from(sorted(parents)))
    layout = lay_out(parents, path_to(parents, best))
    assert list(layout.places) == list(parents)
    assert len(set(layout.places.values())) == len(parents)
    for node, parent in parents.items():
        if parent is not None:
            assert layout.places[node][0] - layout.places[parent][0] == COLUMN
            assert layout.places[node][1] >= layout.places[parent][1]
    assert all(0 < x < layout.width and 0 < y < layout.height for x, y in layout.places.values())


@given(trees(), st.data())
def test_the_best_path_is_the_top_line(parents, data):
    path = path_to(parents, data.draw(st.sampled_from(sorted(parents))))
    places = lay_out(parents, path).places
    assert {places[node][1] for node in path} == {places[0][1]}
    assert places[0][1] == min(y for _, y in places.values())


@given(trees())
def test_no_round_stands_between_a_parent_and_its_last_child(parents):
    """So no line of the drawing crosses another one."""
    places = lay_out(parents).places
    for node, parent in parents.items():
        if parent is None:
            continue
        column, top, bottom = places[parent][0], places[parent][1], places[node][1]
        between = [other for other, (x, y) in places.items() if x == column and top < y <= bottom]
        assert between == []


def test_a_chain_of_ten_thousand_rounds_is_one_line():
    layout = lay_out({0: None} | {node: node - 1 for node in range(1, 10_000)})
    assert len({y for _, y in layout.places.values()}) == 1


def test_siblings_stand_one_line_apart_and_an_orphan_starts_a_new_one():
    places = lay_out({0: None, 1: 0, 2: 0, 7: 99}).places
    assert places[2][1] - places[1][1] == LINE
    assert places[7][0] == places[0][0]
    assert places[7][1] > places[2][1]


def test_no_rounds_make_an_empty_drawing():
    assert lay_out({}).places == {}
