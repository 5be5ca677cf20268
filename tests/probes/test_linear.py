import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from lib.probes.linear import fit_ridge, fit_softmax


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(150, 12)) * rng.uniform(0.1, 10, 12) + 5
    features[:, 3] = 7.3  # constant
    standard = (features - features.mean(0)) / (features.std(0) + 1e-9)
    labels = (standard[:, :4] @ rng.normal(size=(4, 4)) + rng.normal(size=(150, 4))).argmax(1)
    return features, labels


def test_softmax_is_the_regularised_optimum(data):
    features, labels = data
    head = fit_softmax(torch.tensor(features).float(), torch.tensor(labels), 4, l2=0.02)
    scaler = StandardScaler().fit(features)
    reference = LogisticRegression(C=1 / (150 * 0.02), tol=1e-8, max_iter=5000).fit(scaler.transform(features), labels)
    ours = torch.softmax(head(torch.tensor(features).float()), 1).numpy()
    assert ours == pytest.approx(reference.predict_proba(scaler.transform(features)), abs=2e-4)
    assert not head.weight[:, 3].any()


def test_more_features_than_images():
    features = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 5
    head = fit_softmax(features[:20], labels[:20], 5, l2=0.01)
    assert (head(features[:20]).argmax(1) == labels[:20]).all() and not head.weight.requires_grad
    scaler = StandardScaler().fit(features[:20])
    reference = LogisticRegression(C=1 / (20 * 0.01), tol=1e-8, max_iter=5000).fit(
        scaler.transform(features[:20]), labels[:20]
    )
    wanted = reference.predict_proba(scaler.transform(features))
    assert torch.softmax(head(features), 1).numpy() == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, y: fit_softmax(x[:0], y[:0], 4, 0.1), "features must be float"),
        (lambda x, y: fit_softmax(x, y[:5], 4, 0.1), "one row an image"),
        (lambda x, y: fit_softmax(x, y + 1, 4, 0.1), "integers in 0..3"),
        (lambda x, y: fit_softmax(x, y, 4, 0.0), "l2 must be > 0"),
        (lambda x, y: fit_softmax(x / 0, y, 4, 0.1), "features must be finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(8, 3), torch.arange(8) % 4)


@pytest.mark.parametrize("dim", [6, 60])  # fewer and more features than images
def test_ridge_is_scikit_learns(dim):
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (40, dim)) * rng.uniform(0.1, 5, dim)
    y = x[:, :2] @ rng.normal(size=(2, 2)) + rng.normal(size=(40, 2))
    head = fit_ridge(torch.from_numpy(x).float(), torch.from_numpy(y).float(), l2=0.2)
    standard = (x - x.mean(0)) / x.std(0)
    expected = Ridge(alpha=40 * 0.2).fit(standard, y)
    new = rng.normal(3, 1, (9, dim))
    got = head(torch.from_numpy(new).float()).numpy()
    assert np.allclose(got, expected.predict((new - x.mean(0)) / x.std(0)), atol=2e-3, rtol=1e-3)
    assert not any(p.requires_grad for p in head.parameters())


def test_ridge_ignores_constant_features_and_names_bad_targets():
    x, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.rand(20, 2)
    x[:, 1] = 4.0
    assert (fit_ridge(x, y, 0.1).weight[:, 1] == 0).all()
    with pytest.raises(ValueError, match=r"targets must be finite floats \[n,K\], got torch.float32 \[20\]"):
        fit_ridge(x, y[:, 0], 0.1)
    y[3, 0] = float("nan")
    with pytest.raises(ValueError, match="targets must be finite"):
        fit_ridge(x, y, 0.1)
    with pytest.raises(ValueError, match="labels must have one row an image, 20, got 5"):
        fit_ridge(x, y[:5], 0.1)
