import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from lib.probes.knn import knn_predict


def test_one_and_five_neighbours():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    centres = torch.randn(4, 8, generator=generator) * 2
    train = centres[labels] + torch.randn(120, 8, generator=generator)
    test = centres[labels[:60]] + torch.randn(60, 8, generator=generator)
    centred = [(x - train.mean(0)).numpy() for x in (train, test)]
    nearest = KNeighborsClassifier(1, metric="cosine").fit(centred[0], labels.numpy()).predict(centred[1])
    assert (knn_predict(train, labels, test, k=1).numpy() == nearest).all()
    voted = KNeighborsClassifier(5, metric="cosine").fit(centred[0], labels.numpy()).predict_proba(centred[1])
    clear = (voted == voted.max(1, keepdims=True)).sum(1) == 1
    assert clear.sum() > 40
    assert (knn_predict(train, labels, test).numpy()[clear] == voted.argmax(1)[clear]).all()


def test_equal_votes_go_to_the_nearer_class():
    train = torch.tensor([[1.0, 0], [0, 1], [-1, -1]])
    assert knn_predict(train, torch.tensor([2, 0, 1]), torch.tensor([[1.0, 0.3]]), k=2).item() == 2


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="k must be 1..3"):
        knn_predict(torch.eye(3), torch.arange(3), torch.eye(3), k=4)
    with pytest.raises(ValueError, match="labels must be 3 integers"):
        knn_predict(torch.eye(3), torch.arange(2), torch.eye(3), k=1)
