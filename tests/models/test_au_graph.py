"""AUNCE's network: tokens of any backbone, blocks, graph, unit vectors; and as a part of an encoder."""

import pytest
import torch
from torch.nn import functional as F

import lib
from lib.models.au_graph import AuGraph, TokenBlock, nearest_neighbours, token_map
from lib.models.encoder import Encoder, EncoderConfig, centre_crop, save_encoder

TINY = {"channels": [8, 8, 16, 16], "stem_width": 8}
GRAPH = {"units": 5, "width": 6, "neighbours": 2}


@pytest.fixture
def tokens():
    return torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(0))


def test_token_maps_of_all_layouts():
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)  # [B, C, H, W]
    rows = torch.stack([x[:, :, h, w] for h in range(4) for w in range(5)], 1)
    assert torch.equal(token_map(x), rows)
    assert torch.equal(token_map(x.permute(0, 2, 3, 1), channels_last=True), rows)
    assert torch.equal(token_map(torch.cat([rows[:, :1], rows], 1), prefix=1), rows)
    assert torch.equal(token_map([x, x[..., :1]], layer=0), rows) and token_map([x, x[..., :1]]).shape == (2, 4, 3)
    for layer in (2, -3):
        with pytest.raises(ValueError, match=f"layer: expected one of the backbone's 2 maps, -2 to 1, got {layer}"):
            token_map([x, x], layer=layer)


def test_a_block_normalises_channels_over_images_and_tokens(tokens):
    block = TokenBlock(8, 7)
    x = tokens @ block.linear.weight.T + block.linear.bias
    mean, var = x.mean((0, 1)), x.var((0, 1), correction=0)
    assert torch.allclose(block(tokens), F.relu((x - mean) / (var + 1e-5).sqrt()), atol=1e-5)


def test_the_blocks_side_by_side_are_one_block_per_unit(tokens):
    graph = AuGraph(8, **GRAPH)
    shared = graph.shared(tokens)
    for k in range(5):
        block = TokenBlock(8, 6)
        for mine, all_units in zip(block.linear.parameters(), graph.own.linear.parameters()):
            mine.data = all_units[6 * k : 6 * k + 6].detach()
        assert torch.allclose(graph.nodes(tokens)[:, k], block(shared).mean(1), atol=1e-5)


def test_neighbours_are_the_largest_products():
    nodes = torch.tensor([[[2.0, 0], [1, 0], [0, 1], [0, 0.5]]], requires_grad=True)
    found = nearest_neighbours(nodes, 2)
    # node 1's own product, 1, comes behind that with the longer node 0, but before the others
    wanted = torch.tensor([[[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]]) / 2
    assert torch.equal(found, wanted) and not found.requires_grad
    longer = torch.tensor([[[1.0], [5], [3]]])
    assert nearest_neighbours(longer, 1)[0].argmax(1).tolist() == [1, 1, 1]  # a node is no neighbour of itself by right


def test_the_graph_is_the_slow_one(tokens):
    graph = AuGraph(8, **GRAPH).eval()
    graph.norm.running_mean.copy_(torch.linspace(-1, 0, 5))
    graph.norm.running_var.copy_(torch.linspace(0.5, 2, 5))
    x = graph.nodes(tokens).detach()
    found = graph(tokens)
    for b in range(4):
        for i in range(5):
            near = sorted(range(5), key=lambda j: -float(x[b, i] @ x[b, j]))[:2]
            message = sum(graph.message(x[b, j]) for j in near) / 2
            bn = (message + graph.keep(x[b, i]) - graph.norm.running_mean[i]) / (graph.norm.running_var[i] + 1e-5).sqrt()
            node = F.relu(x[b, i] + bn)
            assert torch.allclose(found[b, :, i], F.normalize(node, dim=0), atol=1e-5)


def test_fewer_units_than_neighbours(tokens):
    assert AuGraph(8, units=2)(tokens).shape == (4, 8, 2)


def test_gradients_in_float64():
    graph = AuGraph(3, units=3, width=4, neighbours=2).double().eval()
    tokens = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(graph, tokens)


@pytest.mark.parametrize("backbone, args, size", [
    ("resnet10t", TINY, 32),
    ("resnet10t", TINY | {"features_only": True, "out_indices": [1, 2, 3]}, 32),
    ("swin_tiny_patch4_window7_224", {"img_size": 56, "embed_dim": 12, "depths": [1, 1], "num_heads": [1, 2]}, 56),
    ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}, 32),
])
def test_any_backbone_gives_unit_vectors_and_a_file(backbone, args, size, tmp_path):
    config = EncoderConfig(size, backbone, args, au_graph=GRAPH, centre=0.875)
    encoder = Encoder(config)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    units = encoder.unit_vectors(encoder.prepare(images))
    assert units.shape == (3, 6, 5)
    assert torch.allclose(units.norm(dim=1), torch.ones(3, 5), atol=1e-5)
    units[:, 0].sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None and not name.startswith("backbone.norm.")]
    assert not missing
    encoder.eval()
    save_encoder(encoder, tmp_path / "e.safetensors")
    loaded = lib.load_encoder(tmp_path / "e.safetensors")
    assert torch.equal(loaded(images), encoder(images)) and loaded.config == config and loaded.dim == 30


def test_features_are_the_units_one_after_the_other_of_the_centre():
    encoder = Encoder(EncoderConfig(32, "resnet10t", TINY, au_graph=GRAPH, centre=0.5)).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    units = encoder.unit_vectors(images[..., 16:48, 16:48])
    assert torch.allclose(encoder(images).view(2, 5, 6), units.mT, atol=1e-6)


def test_layer_chooses_the_map():
    several = TINY | {"features_only": True, "out_indices": [1, 2, 3]}
    encoder = Encoder(EncoderConfig(32, "resnet10t", several, au_graph=GRAPH | {"layer": 0}))
    assert encoder.tokens(torch.rand(2, 3, 32, 32)).shape == (2, 64, 8)


def test_centre_crop():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(centre_crop(x, 0.67), x[..., 1:5, 1:5]) and centre_crop(x, 1.0) is x


def test_bad_input():
    for name in ("units", "width", "neighbours"):
        with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
            AuGraph(8, **GRAPH | {name: 0})
    with pytest.raises(ValueError, match="au_graph: a graph of action units needs a backbone, got 'pixels'"):
        EncoderConfig(16, "pixels", au_graph=GRAPH)
    with pytest.raises(ValueError, match=r"centre: expected a share in \(0, 1\], got 0"):
        EncoderConfig(16, "pixels", centre=0)
    with pytest.raises(ValueError, match="this encoder has no graph of action units"):
        Encoder(EncoderConfig(32, "resnet10t", TINY)).unit_vectors(torch.rand(1, 3, 32, 32))
