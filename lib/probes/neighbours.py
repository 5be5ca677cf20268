"""Expression, valence and arousal by the 5 nearest neighbours, which need no training, under every condition.

A vote of neighbours has no gradient. What is attacked is the linear probe behind the same encoder (``Task.made_on``): the
neighbours see the very images that were made against it. So their score under attack is an upper bound, and there are no checks
for masked gradients of it.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.probes import affect, expression
from lib.probes.features import embed
from lib.probes.knn import NEIGHBOURS, knn_mean, knn_predict
from lib.probes.task import Task

BY_NEIGHBOURS = {"expression_knn": "expression", "valence_arousal_knn": "valence_arousal"}  # task -> its linear probe


def knn_task(base: Task, encoder: nn.Module, *, batch_size: int, device: torch.device | str) -> Task:
    """``base`` (expression, valence_arousal) with votes (or mean ratings) of neighbours among its training images.

    The features of all training images are kept on ``device``.
    """
    table = base.table
    train = expression.training_rows(table) if base.classes else affect.affect_training_rows(table)
    known = embed(encoder, table, train, batch_size, device)
    nearest = min(NEIGHBOURS, len(train))

    if base.classes:
        label = torch.tensor(table.column("expression")[train], dtype=torch.long, device=device)

        def head(features: Tensor, items: Tensor) -> Tensor:
            return F.one_hot(knn_predict(known, label, features.float(), nearest), base.classes).float()
    else:
        rating = torch.tensor(affect.ratings(table)[train], device=device)

        def head(features: Tensor, items: Tensor) -> Tensor:
            return knn_mean(known, rating, features.float(), nearest)

    name = next(name for name, of in BY_NEIGHBOURS.items() if of == base.name)
    return replace(base, name=name, head=head, clean_only={}, classes=None, made_on=base)
