"""Which images of a face table each task is tested on, and what the table does not allow."""

import numpy as np

from lib.conditions import DRAW_SEED
from lib.probe_params import BESIDE, ProbeParams
from lib.probes.action_units import action_unit_rows, left_out_of
from lib.probes.affect import affect_rows
from lib.probes.expression import expression_rows
from lib.probes.finetuned import FINETUNED, rows_for
from lib.probes.neighbours import BY_NEIGHBOURS
from lib.probes.selection import test_rows
from lib.probes.task import TaskLeftOut
from lib.probes.verification import draw_pairs


def items_of(table, params: ProbeParams) -> tuple[dict[str, np.ndarray], list[str]]:
    """What a table can be probed for: the test images of each task asked for, and a sentence for whatever it cannot.

    Expression needs the columns ``expression`` and ``split``; action units ``fold`` and any of BP4D's 12 (or all of DISFA's 8);
    verification ``identity`` and 20 people; valence and arousal ``valence``, ``arousal`` and ``split``; fine-tuning two people
    to fit on. The images of all tasks begin alike.

    Raises:
        ValueError: the table has no test images.
    """
    rows = test_rows(table, DRAW_SEED)
    items, notes = {}, [f"{table.name}: {note}" for note in table.notes]

    def action_units():
        chosen = action_unit_rows(table, rows)[: params.images]
        notes.extend(f"{table.name}: action units: {said}" for said in left_out_of(table, chosen))
        return chosen

    def verification():
        draw_pairs(table, rows[: params.images], params.pairs, DRAW_SEED)
        return rows[: params.images]

    def finetuned(name: str):
        rows_for(name, table)  # is there anybody to choose an epoch by?
        return items[FINETUNED[name]]

    rows_of = {
        "expression": lambda: expression_rows(table, rows)[: params.images],
        "action_units": action_units,
        "verification": verification,
        "valence_arousal": lambda: affect_rows(table, rows)[: params.images],
        **{name: lambda base=base: items[base] for name, base in BY_NEIGHBOURS.items()},
        **{name: lambda name=name: finetuned(name) for name in FINETUNED},
    }
    for name in rows_of:
        if name not in params.tasks or BESIDE.get(name, name) not in {*items, name}:
            continue  # not asked for, or its linear probe is left out with a sentence of its own
        try:
            items[name] = rows_of[name]()
        except TaskLeftOut as reason:
            notes.append(f"{table.name}: {name.replace('_', ' ')} left out: {reason}")
    return items, notes
