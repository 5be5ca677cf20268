import pandas as pd
import pytest

from lib.report.answer import answer
from tests.report.invented import rows


def test_answer_follows_the_numbers():
    def said(ours):
        return answer(pd.DataFrame(rows("simclr", {"corruption": 30, "attack": 60}) + rows("dar_sfrl", ours)))

    good = said({"corruption": 10, "attack": 20})
    assert good[0].startswith("Yes") and "10.0" in good[1] and "60.0" in good[1] and "All 3" in good[-1]
    assert said({"corruption": 10, "attack": 70})[0].startswith("In part")
    bad = said({"corruption": 31, "attack": 70})
    assert bad[0].startswith("No") and "1 of the 3" in bad[-1] and "clearly less drop" in bad[-1]
    assert answer(pd.DataFrame(rows("simclr", {})))[0].startswith("Not all that the question compares was part")


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ((9, 9), "loses 9.0 and 9.0: not clearly more on both means compared, where"),
        ((45, 45), "loses 45.0 and 45.0: clearly more on both means compared, so it is the trained network"),
        ((2, 2), "clearly less on both means compared, where the trained network does harm."),
        ((45, 9), "not clearly more on 1 of the 2 means, where the trained network is not shown to make"),
        ((2, 9), "clearly less on 1 of the 2 means, where the trained network does harm and not clearly more on 1 of the 2 means"),
    ],
)
def test_the_answer_says_what_the_readout_gives_without_a_network(control, said):
    found = rows("simclr", {"corruption": 80, "attack": 80}) + rows("dar_sfrl", {"corruption": 10, "attack": 10})
    sentences = answer(pd.DataFrame(found + rows("pixel_readout", dict(zip(("corruption", "attack"), control)))))
    assert sum("without any network" in sentence for sentence in sentences) == 1
    assert said in " ".join(sentences)
    assert "without any network" not in " ".join(answer(pd.DataFrame(found)))


def test_the_answer_names_the_tasks_where_it_is_not_so():
    def of(task, ours):
        kind = {"task": task, "dataset": "rendered"}
        return rows("simclr", {"corruption": 30, "attack": 60}, **kind) + rows("dar_sfrl", ours, **kind)

    good, bad = {"corruption": 10, "attack": 20}, {"corruption": 31, "attack": 70}
    said = " ".join(answer(pd.DataFrame(of("expression", good) + of("verification", bad))))
    assert "Not so in Verification, rendered, where 2 of the 3 comparisons fail" in said and "70.0 points" in said
    assert "Not so in" not in " ".join(answer(pd.DataFrame(of("expression", good) + of("verification", good))))
