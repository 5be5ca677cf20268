"""YAML -> dataclasses: what is right comes through with its types, and each thing that can be wrong is named by its key."""

from dataclasses import dataclass, field

import pytest

from lib.strict_yaml import ParamsError, check_keys, parse, read_tree


@dataclass(frozen=True)
class Inner:
    rate: float
    names: list[str]
    swap: bool = False

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"rate: expected a number >= 0, got {self.rate}")


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    pairs: list[list[int]] = field(default_factory=list)
    extra: dict = field(default_factory=dict)


RIGHT = "count: 3\ninner: {rate: 2, names: [a, b]}\n"


def outer(text: str) -> Outer:
    return parse(read_tree(text), Outer, "top")


def test_what_is_right_comes_through_with_its_types():
    made = outer(RIGHT + "pairs: [[1, 2], [3]]\nextra: {x: [1, y]}\n")
    assert made == Outer(3, Inner(2.0, ["a", "b"]), [[1, 2], [3]], {"x": [1, "y"]})
    assert type(made.inner.rate) is float and outer(RIGHT).pairs == []
    merged = read_tree("base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n")  # a merge may say a key again
    assert merged["other"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(("old", "new", "message"), [
    ("count: 3", "count: 3.5", "top.count: expected int, got 3.5"),
    ("count: 3", "count: true", "top.count: expected int, got True"),
    ("count: 3", "count: null", "top.count: expected int, got None"),
    ("count: 3\n", "", "missing key top.count"),
    ("count: 3", "cuont: 3", "unknown key top.cuont; there are count, inner, pairs, extra"),
    ("rate: 2", "rate: 1e-3", "top.inner.rate: expected float, got '1e-3' (write 1.0e-3, not 1e-3: YAML reads that as text)"),
    ("rate: 2", "rate: .nan", "top.inner.rate: expected a number, got NaN"),
    ("rate: 2", "rate: true", "top.inner.rate: expected float, got True"),
    ("rate: 2", "rate: -1", "top.inner.rate: expected a number >= 0, got -1.0"),
    ("rate: 2, ", "", "missing key top.inner.rate"),
    ("[a, b]", "a", "top.inner.names: expected a list, got 'a'"),
    ("[a, b]", "[a, 1]", "top.inner.names[1]: expected str, got 1"),
    ("[a, b]", "[a], swap: 1", "top.inner.swap: expected bool, got 1"),
    ("{rate: 2, names: [a, b]}", "5", "top.inner: expected a group of keys, got 5"),
    ("count: 3", "count: 3\npairs: [[1], [2, x]]", "top.pairs[1][1]: expected int, got 'x'"),
    ("count: 3", "count: 3\nextra: []", "top.extra: expected dict, got []"),
])  # fmt: skip
def test_what_is_wrong_is_named_by_its_key(old, new, message):
    assert old in RIGHT
    with pytest.raises(ParamsError) as caught:
        outer(RIGHT.replace(old, new))
    assert str(caught.value) == message


def test_the_first_of_several_missing_keys_in_the_order_of_the_class_is_named():
    with pytest.raises(ParamsError, match="^missing key top.count$"):
        outer("{}")


def test_a_key_that_stands_twice_and_broken_yaml_are_errors():
    with pytest.raises(ParamsError, match="(?s)not valid YAML: the key 'count' stands twice.*line 1"):
        read_tree("count: 3\ncount: 4\n")
    with pytest.raises(ParamsError, match="(?s)the key 'rate' stands twice.*line 2"):
        read_tree("count: 3\ninner: {rate: 1, rate: 2}\n")
    with pytest.raises(ParamsError, match="(?s)not valid YAML: .*line 2"):
        read_tree("count: 3\n inner: [\n")


def test_the_file_itself_has_to_be_a_group():
    with pytest.raises(ParamsError, match="^the file: expected a group of keys, got None$"):
        check_keys(read_tree(""), ["count"], ["count"], "")


def test_a_class_with_a_union_is_the_programmers_mistake():
    with pytest.raises(TypeError, match="key: the loader knows no unions"):
        parse(1, int | None, "key")
