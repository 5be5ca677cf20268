"""Methods: one file a published system, all with the same small protocol.

A method is an ``nn.Module`` built from (config, network, views) that keeps its settings as ``config`` and ``view_config``,
frozen dataclasses that a checkpoint is recognised by, and has

    views(images, generator) -> list of dicts: what the loss needs, made on the device; one optimiser step each. ``images``
                                is [B, 3, H, W], or a lib.loading.ClipBatch for a method with ``items``
    loss(views)              -> {name: scalar}; 'loss' is minimised, 'embedding' [B, D] feeds the collapse meter: at least one of
                                the steps of every batch of images gives it
    optimizer()              -> the optimiser over what the method trains
    encoder()                -> the Encoder to keep

and, where it needs them,

    after_step(step), after_epoch(mean terms) -> schedules, moving averages, queues
    finish(table, device)    -> after the last step: what has a closed form, fitted to the pre-training images
    items(table, epoch, draw) -> the table rows [N, k] that the N items of an epoch read, in the order of the epoch; N is the
                                same in all epochs. draw(epoch) makes that epoch's generator: what is drawn depends on it
                                alone, so that a killed run goes on with the same items. Default: single images, shuffled
    labels(table)            -> [N, ...], one row an image of the table: a supervised method, whose views get those of the
                                batch as a third argument
    began_with               -> a checksum of the weights that it was built with from elsewhere: a checkpoint is recognised by it
    rate(step, steps_per_epoch) -> factor of the learning rate in this step in place of the schedule's, or None: the schedule's
    begin(steps)             -> before the first step, and when a killed run goes on: how many steps the run has

Every method has ``variant``: 'released' does what the published code does (crashes fixed), 'corrected' what its authors
meant; the deviations stand in the method's docstring.
"""

from torch import nn

from lib.methods.aunce import Aunce, AunceConfig
from lib.methods.byol import BYOL, BYOLConfig
from lib.methods.dar_sfrl import DarSfrl, DarSfrlConfig
from lib.methods.dar_sfrl_released import DarSfrlReleased
from lib.methods.moco import MoCo, MoCoConfig
from lib.methods.protocol import check_protocol
from lib.methods.simclr import SimCLR, SimCLRConfig
from lib.methods.ssl_fer import SslFer, SslFerConfig
from lib.models.encoder import EncoderConfig
from lib.views import Views

# name: (its settings, what builds it from (settings, network, views))
BUILDERS = {
    "simclr": (SimCLRConfig, SimCLR),
    "dar_sfrl": (
        DarSfrlConfig,
        lambda config, *rest: (DarSfrlReleased if config.variant == "released" else DarSfrl)(config, *rest),
    ),
    "ssl_fer": (SslFerConfig, SslFer),
    "moco": (MoCoConfig, MoCo),
    "byol": (BYOLConfig, BYOL),
    "aunce": (AunceConfig, Aunce),
}
METHODS = {name: settings for name, (settings, _) in BUILDERS.items()}


def build_method(name: str, config, network: EncoderConfig, views: Views) -> nn.Module:
    """The method ``name`` with its parsed configuration, around a fresh network.

    Raises:
        ValueError: unknown name, or a method that lacks a part of the protocol or has one that nothing would call.
    """
    if name not in BUILDERS:
        raise ValueError(f"method: unknown {name!r}; there are {', '.join(BUILDERS)}")
    method = BUILDERS[name][1](config, network, views)
    check_protocol(method)
    return method
