import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional as F

from lib.probes import knn
from lib.probes.knn import knn_mean, knn_predict


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


def test_mean_of_the_nearest_targets():
    generator = torch.Generator().manual_seed(0)
    train, test = torch.randn(30, 6, generator=generator), torch.randn(8, 6, generator=generator)
    targets = torch.randn(30, 2, generator=generator)
    found = knn_mean(train, targets, test, k=4)
    centre = train.mean(0)
    for row, mean in zip(test, found):
        cosine = [torch.dot(F.normalize(row - centre, dim=0), F.normalize(x - centre, dim=0)).item() for x in train]
        nearest = sorted(range(30), key=lambda i: -cosine[i])[:4]
        assert torch.allclose(mean, sum(targets[i] for i in nearest) / 4, atol=1e-6)
    with pytest.raises(ValueError, match=r"targets must be floats \[30,K\], got torch.float32 \[30\]"):
        knn_mean(train, targets[:, 0], test)
    with pytest.raises(ValueError, match="k must be 1..30"):
        knn_mean(train, targets, test, k=31)


def test_how_many_test_images_are_compared_at_once_changes_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    train, test = torch.randn(40, 8, generator=generator), torch.randn(23, 8, generator=generator)
    labels, targets = torch.arange(40) % 7, torch.randn(40, 2, generator=generator)
    whole = knn.knn_predict(train, labels, test), knn.knn_mean(train, targets, test)
    monkeypatch.setattr(knn, "AT_ONCE", 5)
    assert torch.equal(knn.knn_predict(train, labels, test), whole[0])
    torch.testing.assert_close(knn.knn_mean(train, targets, test), whole[1])
    assert knn.knn_predict(train, labels, test[:0]).shape == (0,)
