"""The picture panels of the report: degraded, attacked and restored faces (rendered ones only), an embedding map."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.degrade.corruptions import CORRUPTIONS, corrupt
from lib.models.encoder import Encoder
from lib.probe_params import ProbeParams
from lib.probes.features import embed
from lib.report.attack_panels import attack_panels
from lib.report.build import FACES
from lib.report.figures.face_swap import swapped_faces

SHOWN_FACES, SWAPPED_FACES = 4, 8
MAP_IMAGES, MAP_FEWEST = 400, 20
RESTORED = ("gaussian_noise", "motion_blur", "low_light", "contrast")
PREFERRED = "dar_sfrl"  # whose restorer is shown and attacked; without it the first encoder with one


def make_panels(
    encoders: Mapping[str, Encoder], faces, params: ProbeParams, *, device: torch.device, seed: int
) -> dict:
    """What :func:`lib.report.build.build_report` wants to show, from pre-trained encoders and the test faces of a set.

    Faces are shown where they are rendered; of photographs there is the embedding map at most. What is not there is
    named in 'left_out' with the reason.

    Args:
        encoders: name -> encoder.
        faces: a FaceTable; its split 'probe_test' is shown.
        params: budget of the attacks. All attacks and corruptions are shown. seed: of the degradations.
    """
    table = faces.select(faces.column("split") == "probe_test")
    panels, left_out = {"source": faces.source}, {}
    if faces.source == "rendered":
        panels |= _face_panels(encoders, faces, table, params, device, seed, left_out)
    else:
        left_out |= dict.fromkeys(FACES, f"panels show rendered faces only; this run used {faces.source}")
    labelled = np.flatnonzero(table.column("expression") >= 0) if "expression" in table.columns else np.array([], int)
    if len(labelled) < MAP_FEWEST:
        left_out["embeddings"] = (
            f"it needs {MAP_FEWEST} test images with a known expression, {faces.name} has {len(labelled)}"
        )
    else:
        panels["embeddings"] = _embedded(encoders, table, labelled, params.batch_size, device)
    return panels | {"left_out": left_out}


def _face_panels(encoders, faces, table, params: ProbeParams, device, seed: int, left_out: dict[str, str]) -> dict:
    restorers = [name for name in (PREFERRED, *encoders) if name in encoders and encoders[name].restorer is not None]
    attacked = restorers[0] if restorers else next(iter(encoders))
    frontal = _frontal_faces(table)
    shown = table.images(frontal).to(device).float() / 255
    places = torch.as_tensor(table.column("landmarks")[frontal]).to(device) if "landmarks" in table.columns else None
    panels = {"corruptions": _corrupted(shown, places, device, seed)}
    if params.attacks or params.strong.attacks:
        panels |= attack_panels(encoders[attacked].to(device), attacked, faces, params, device, seed, SHOWN_FACES)
    else:
        left_out |= dict.fromkeys(("attacks", "strong_attacks"), "there were no attacks in this run")
    if restorers:
        panels["restoration"] = _restored(encoders[attacked].to(device), attacked, shown, device, seed)
    else:
        left_out["restoration"] = "no encoder of this run has a restorer"
    if table.has_landmarks and len(np.unique(table.column("identity"))) > 1:
        swapped = swapped_faces(table, SWAPPED_FACES, seed)
        panels["face_swap"] = {name: swapped[name] for name in ("head", "expression", "swapped")}
    else:
        left_out["face_swap"] = "it needs landmarks, and two people"
    readers = [name for name in (PREFERRED, *encoders) if name in encoders and encoders[name].readout is not None]
    readers = [name for name in readers if len(encoders[name].readout.pixels)]
    if readers:
        panels["moving"] = _moving(encoders[readers[0]].to(device), readers[0], shown)
    else:
        left_out["moving"] = "no encoder of this run has a readout that saw faces move"
    return panels


def _frontal_faces(table) -> np.ndarray:
    """Rows of the face nearest to frontal of the first few people, so that a reader sees the face."""
    people = table.column("identity")
    turned = sum(np.abs(table.column(angle)) for angle in ("yaw", "pitch") if angle in table.columns)
    turned = np.broadcast_to(turned, people.shape)
    rows = [np.flatnonzero(people == person) for person in np.unique(people)[:SHOWN_FACES]]
    return np.array([of_one[turned[of_one].argmin()] for of_one in rows])


def _corrupted(shown: Tensor, landmarks: Tensor | None, device, seed: int) -> dict:
    """People take turns: one face alone would be mistaken for an example picked by hand."""
    rows = []
    for number, name in enumerate(CORRUPTIONS):
        place = number % len(shown)
        face, points = shown[place][None], None if landmarks is None else landmarks[place][None]
        levels = [corrupt(face, name, level, torch.Generator(device).manual_seed(seed), points) for level in range(1, 6)]
        rows.append(torch.cat([face, *levels]))
    return {"names": list(CORRUPTIONS), "images": torch.stack(rows).cpu()}


@torch.no_grad()
def _restored(encoder: Encoder, name: str, shown: Tensor, device, seed: int) -> dict:
    kinds = RESTORED[: len(shown)]
    shown = shown[: len(kinds)]
    degraded = torch.cat(
        [corrupt(face[None], kind, 3, torch.Generator(device).manual_seed(seed)) for face, kind in zip(shown, kinds)]
    )
    # DAFR is given, and aims at, faces as the encoder prepares them: gain and offset are undone before its first stage
    return {
        "encoder": name,
        "labels": [kind.replace("_", " ") for kind in kinds],
        "seen": F.interpolate(degraded, (encoder.image_size,) * 2, mode="bilinear", antialias=True).cpu(),
        "degraded": encoder.prepare(degraded).cpu(),
        "restored": torch.stack(encoder.restore(degraded), 1).cpu(),
        "clean": encoder.prepare(shown).cpu(),
    }


@torch.no_grad()
def _moving(encoder: Encoder, name: str, shown: Tensor) -> dict:
    pixels = torch.zeros(encoder.image_size**2, dtype=torch.bool)
    pixels[encoder.readout.pixels.cpu()] = True
    return {"encoder": name, "images": encoder.prepare(shown).cpu(), "pixels": pixels.view(encoder.image_size, -1).numpy()}


def _embedded(encoders: Mapping[str, Encoder], table, labelled: np.ndarray, batch_size: int, device) -> dict:
    some = labelled[np.linspace(0, len(labelled) - 1, min(MAP_IMAGES, len(labelled))).astype(int)]
    rows = torch.as_tensor(some)
    features = {
        name: embed(encoder.to(device), table, rows, batch_size, device).cpu() for name, encoder in encoders.items()
    }
    return {
        "features": features,
        "expression": table.column("expression")[some],
        "identity": table.column("identity")[some],
    }
