"""What a person must know about a data set before they have it: printed on request, and when the set is missing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """``tree`` shows the expected files, relative to the data set's folder; the other fields are a sentence each."""

    name: str
    title: str
    source: str
    licence: str
    credit: str
    where: str
    tree: str
    counts: str

    def text(self) -> str:
        tree = "\n".join(f"    {line}" for line in self.tree.splitlines())
        return (f"{self.name}: {self.title}\n  where to get it: {self.where}\n  licence: {self.licence}\n"
                f"  credit: {self.credit}\n  expected: {self.counts}\n{tree}")
