"""The picture panels of the report: degraded, attacked and restored faces, and an embedding map. Rendered faces only."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from lib.degrade.attacks import attack
from lib.degrade.corruptions import corrupt
from lib.evaluation import ProbeParams, tasks_of
from lib.models.encoder import Encoder
from lib.probes.features import embed

SHOWN_FACES = 4
MAP_IMAGES = 400
RESTORED = ("gaussian_noise", "motion_blur", "low_light", "contrast")


def make_panels(
    encoders: Mapping[str, Encoder], faces, params: ProbeParams, *, device: torch.device, seed: int
) -> dict:
    """What :func:`lib.report.build.build_report` wants to show, from pre-trained encoders and rendered faces.

    Args:
        encoders: name -> encoder; the restorer shown is that of ``dar_sfrl``, else of the first with one.
        faces: a FaceTable with the split ``probe_test``.
        params: corruptions, attacks and eps that are shown. seed: of the degradations.

    Raises:
        ValueError: the faces are photographs.
    """
    if faces.source != "rendered":
        raise ValueError(f"faces: only rendered faces may be shown in the report, got source {faces.source!r}")
    table = faces.select(faces.column("split") == "probe_test")
    shown = table.images(_frontal_faces(table)).to(device).float() / 255
    shown_encoder = next((n for n in ("dar_sfrl", *encoders) if n in encoders and encoders[n].restorer is not None), None)
    attacked = shown_encoder or next(iter(encoders))
    panels = {
        "source": faces.source,
        "corruptions": _corrupted(shown[:1], params, device, seed),
        "attacks": _attacked(encoders[attacked].to(device), attacked, faces, params, device, seed),
        "embeddings": _embedded(encoders, table, params.batch_size, device),
    }
    if shown_encoder:
        panels["restoration"] = _restored(encoders[shown_encoder].to(device), shown_encoder, shown, params, device, seed)
    return panels


def _frontal_faces(table) -> np.ndarray:
    """Rows of the face nearest to frontal of the first few people, so that a reader sees the face."""
    people = table.column("identity")
    turned = np.abs(table.column("yaw")) + np.abs(table.column("pitch"))
    rows = [np.flatnonzero(people == person) for person in np.unique(people)[:SHOWN_FACES]]
    return np.array([of_one[turned[of_one].argmin()] for of_one in rows])


def _corrupted(face: Tensor, params: ProbeParams, device, seed: int) -> dict:
    rows = []
    for name in params.corruptions:
        levels = [corrupt(face, name, level, torch.Generator(device).manual_seed(seed)) for level in range(1, 6)]
        rows.append(torch.cat([face, *levels]))
    return {"names": list(params.corruptions), "images": torch.stack(rows).cpu()}


def _attacked(encoder: Encoder, name: str, faces, params: ProbeParams, device, seed: int) -> dict:
    task = next(t for t in tasks_of(encoder, faces, params, device) if t.name == "expression")
    items = torch.arange(min(SHOWN_FACES, len(task)))
    clean = task.table.images(task.rows[items]).to(device).float() / 255
    scores, labels = task.scores_fn(items), task.labels[items.to(device)]
    images = [
        attack(kind, scores, clean, labels, task.loss_fn, params.eps / 255, params.alpha / 255, params.steps,
               torch.Generator(device).manual_seed(seed))
        for kind in params.attacks
    ]  # fmt: skip
    return {"names": list(params.attacks), "encoder": name, "clean": clean.cpu(), "images": torch.stack(images).cpu(), "eps": params.eps / 255}


@torch.no_grad()
def _restored(encoder: Encoder, name: str, shown: Tensor, params: ProbeParams, device, seed: int) -> dict:
    kinds = RESTORED[: len(shown)]
    degraded = torch.cat(
        [corrupt(face[None], kind, 3, torch.Generator(device).manual_seed(seed)) for face, kind in zip(shown, kinds)]
    )
    # what the encoder aims at is the clean face as it prepares it: gain and offset are undone in both
    restored = torch.stack([x.clamp(0, 1) for x in encoder.restore(degraded)], 1)
    clean = encoder.prepare(shown).clamp(0, 1)
    labels = [kind.replace("_", " ") for kind in kinds]
    return {"encoder": name, "labels": labels, "degraded": degraded.cpu(), "restored": restored.cpu(), "clean": clean[: len(kinds)].cpu()}


def _embedded(encoders: Mapping[str, Encoder], table, batch_size: int, device) -> dict:
    labelled = np.flatnonzero(table.column("expression") >= 0)
    some = labelled[np.linspace(0, len(labelled) - 1, min(MAP_IMAGES, len(labelled))).astype(int)]
    rows = torch.as_tensor(some)
    features = {name: embed(encoder.to(device), table, rows, batch_size, device).cpu() for name, encoder in encoders.items()}
    return {"features": features, "expression": table.column("expression")[some], "identity": table.column("identity")[some]}
