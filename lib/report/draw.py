"""Every figure of the report, with the caption that says how to read it and what it was measured on."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from lib.report import names
from lib.report.checks import has_checks
from lib.report.claims import main_blocks
from lib.report.figures import (
    action_units,
    attacks,
    confusion,
    embedding,
    face_swap,
    gallery,
    headline,
    masking,
    moving,
    restoration,
    severity,
    training,
)
from lib.report.summary import Scores


@dataclass
class Drawn:
    """A figure with its title and the caption that says how to read it. ``picture``: made of images, not of lines."""

    name: str
    title: str
    caption: str
    figure: Figure
    picture: bool = False


def draw_all(
    scores: Scores, histories: dict[str, pd.DataFrame], panels: dict, seen: tuple[str, ...], eps: float
) -> list[Drawn]:
    """Every figure of the report that there are numbers or panels for, in its order."""
    blocks, first = scores.blocks(), main_blocks(scores)
    seeds = int(scores.frame["seeds"].max())
    bars = f"95% intervals over subjects{' and seeds' if seeds > 1 else ''}"

    def facts(family, chosen=blocks):
        found = {block: scores.facts(*block, family) for block in chosen}
        return "; ".join(f"{names.task_label(*block)}: {said}" for block, said in found.items() if said) + "."

    def all_facts(chosen):
        return "; ".join(f"{names.task_label(*block)}: {scores.all_facts(*block)}" for block in chosen) + "."

    def of_neighbours(chosen):
        return "".join(f" {note}" for note in names.neighbours_note(task for task, _ in chosen))

    figures = [
        Drawn(
            "headline",
            "How far each encoder falls",
            "Open circle: score on clean faces. Square: mean over all corruption types and severities. "
            f"Diamond: mean over the white-box attacks at {eps:g}/255. A short line is a robust encoder. Pale bars: "
            f"{bars}. " + all_facts(first),
            headline.headline(scores, first),
        )
    ]
    if "corruptions" in panels:
        data = panels["corruptions"]
        figures.append(
            Drawn(
                "corruption_gallery",
                "The corruptions",
                "Rendered faces under every corruption of the package, each clean and at severities 1, 3 and 5. The training "
                "mixture of DAR-SFRL holds the upper types and never the lower ones. The tables measure a part of them.",
                gallery.corruption_gallery(tuple(data["names"]), data["images"], seen),
                picture=True,
            )
        )
    if "attacks" in panels:
        data = panels["attacks"]
        figures.append(
            Drawn(
                "attack_gallery",
                "The attacks",
                f"Rendered faces attacked at {255 * data['eps']:.0f}/255 through {names.look(data['encoder']).label} "
                f"and its probe ({names.TASKS[data['task']].lower()}), by one step (FGSM) and by the published eight. "
                "Below each: what was added, magnified; mid-grey is no change, black and white are the largest change allowed.",
                gallery.attack_gallery(tuple(data["names"]), data["clean"], data["images"], data["eps"]),
                picture=True,
            )
        )
    if "strong_attacks" in panels:
        data = panels["strong_attacks"]
        figures.append(
            Drawn(
                "strong_attack_gallery",
                "The attacks beyond the published eight",
                "The same faces, encoder and probe. Auto-PGD; the other parts of AutoAttack by themselves, and all of it: an image "
                "that they cannot break stays as it is, and one that is wrong already is left alone. SSP, which needs no label. On M: "
                "the worst blur, gain and square; these have no limit per pixel, so what was added is cut at the limit of the others. "
                "Dodging turns a face's features away from those of the person's other picture, impersonation towards those of the next "
                "person.",
                gallery.attack_gallery(tuple(data["names"]), data["clean"], data["images"], data["eps"]),
                picture=True,
            )
        )
    if "restoration" in panels:
        data = panels["restoration"]
        figures.append(
            Drawn(
                "restoration",
                "What DAFR restores, stage by stage",
                f"{names.look(data['encoder']).label} on rendered faces it was not trained on. "
                "From the degraded input y through the restored images of the stages to the clean target; n is what "
                "the last stage removed (mid-grey = nothing). "
                "Numbers: mean absolute difference from the clean face, in grey levels of 255. Colours are odd because gain and "
                "offset of each channel are undone before the first stage; low light and contrast are mended by that, not by DAFR.",
                restoration.restoration(
                    tuple(data["labels"]), data["seen"], data["degraded"], data["restored"], data["clean"]
                ),
                picture=True,
            )
        )
    if "moving" in panels:
        data = panels["moving"]
        figures.append(
            Drawn(
                "moving",
                "Where faces move",
                f"{names.look(data['encoder']).label}: the pixels that its readout keeps, on rendered faces it was not "
                "trained on. They vary most within clips, as a share of how much they vary over all faces; no label says "
                "where brows, eyes and mouth are. All else reaches the representation through its main components only.",
                moving.moving(data["images"], data["pixels"]),
                picture=True,
            )
        )
    if "face_swap" in panels:
        data = panels["face_swap"]
        figures.append(
            Drawn(
                "face_swap",
                "FaceSwap: one face's expression on another head",
                "What SSL-FER's FaceSwap takes for the same expression: the inner face of one rendered person (middle) on the head of "
                "another (top), fitted by landmarks and matched in colour (bottom). No encoder of the tables above was trained with it.",
                face_swap.face_swap_gallery(data["head"], data["expression"], data["swapped"]),
                picture=True,
            )
        )
    corrupted = [block for block in blocks if scores.conditions(*block, "corruption")]
    if corrupted:
        figures.append(
            Drawn(
                "drop_by_severity",
                "Drop against severity",
                f"Points lost against clean faces, mean over all corruption types. Lower is better. Bands: {bars} "
                "(controls without). " + facts("corruption", corrupted),
                severity.drop_by_severity(scores),
            )
        )
    for task, dataset in [block for block in corrupted if block in first]:
        figures.append(
            Drawn(
                f"drop_by_corruption_{task}_{dataset}",
                f"Each corruption: {names.task_label(task, dataset)}",
                "Points lost under each corruption type; 'seen' types are in DAR-SFRL's training mixture. Bands: "
                f"{bars}. " + facts("corruption", [(task, dataset)]),
                severity.drop_by_corruption(scores, task, dataset, seen),
            )
        )
    attacked = [block for block in blocks if scores.conditions(*block, "attack")]
    if attacked:
        figures.append(
            Drawn(
                "drop_per_attack",
                "Drop under each attack",
                f"Points lost under each white-box attack at {eps:g}/255, through the whole model. Further left is "
                f"better. Bars: {bars}. "
                "UPGD repeats MIFGSM, and EOTPGD repeats PGD, for a model without randomness. "
                + facts("attack", attacked)
                + of_neighbours(attacked),
                attacks.drop_per_attack(scores),
            )
        )
    swept = [block for block in blocks if scores.facts(*block, "sweep")]
    if swept:
        figures.append(
            Drawn(
                "eps_sweep",
                "Score against the attack's budget",
                "PGD with a growing budget. A sound attack drives every encoder to about zero; one that levels off above "
                "would be a sign of masked gradients. Below chance the attack chooses the answer. F1 of action units need not "
                "go down to zero, nor fall all the way: units that are guessed for every face have one. "
                f"Dotted: the {eps:g}/255 of the tables. Bands: {bars}. " + facts("sweep", swept) + of_neighbours(swept),
                attacks.eps_sweep(scores, eps),
            )
        )
    if any(has_checks(scores, *block) for block in blocks):
        figures.append(
            Drawn(
                "masking_checks",
                "Are the attacks strong?",
                "Left: the attack's loss must not fall with more steps. Right: attacks that do not use the model's "
                "own gradient must not reach a lower score "
                f"than the white-box one. Bars: {bars}. " + facts("check"),
                masking.masking_checks(scores),
            )
        )
    for dataset in [dataset for task, dataset in blocks if task == "action_units"]:
        if not action_units.can_be_drawn(scores, dataset):
            continue
        figures.append(
            Drawn(
                f"action_units_{dataset}",
                f"Each action unit, {names.DATASET_SHORT.get(dataset, dataset)}",
                "F1 of each action unit on clean faces (open) and as the mean over the attacks (filled). "
                f"Pale bars: {bars}. " + all_facts([("action_units", dataset)]),
                action_units.per_action_unit(scores, dataset),
            )
        )
    for task, dataset in [block for block in blocks if confusion.can_be_drawn(scores, *block)]:
        figures.append(
            Drawn(
                f"confusion_{task}_{dataset}",
                f"Which expression is taken for which: {names.task_label(task, dataset)}",
                "Of the images that show an expression (row), how many percent are taken for each (column); the diagonal is "
                "the recall. Clean, mean over all corruptions and severities, mean over the attacks (of the attacked images "
                "alone). "
                + all_facts([(task, dataset)])
                + of_neighbours([(task, dataset)]),
                confusion.confusion(scores, task, dataset),
            )
        )
    if "embeddings" in panels:
        data = panels["embeddings"]
        kind = "rendered faces" if panels["source"] == "rendered" else f"faces ({panels['source']})"
        figures.append(
            Drawn(
                "embedding_map",
                "What the features hold",
                f"t-SNE of the features of {len(data['expression']):,} {kind}, coloured by expression (top) and "
                "person (bottom). Distances between far groups mean nothing in such a map; "
                "the percentages do: the share of an image's 5 nearest neighbours, by cosine in the features "
                "themselves, with the same expression or person.",
                embedding.embedding_map(_for_map(data["features"]), data["expression"], data["identity"]),
            )
        )
    if histories:
        figures.append(
            Drawn(
                "training_curves",
                "Training",
                "Loss and its terms; below, the collapse meter: embedding std is 1 when features spread like random "
                "directions and 0 when all faces get the same feature; "
                "effective rank counts the directions in use. No labels are used here.",
                training.training_curves(histories),
            )
        )
    return figures


def _for_map(features: dict) -> dict:
    """At most six encoders are readable side by side: controls made from another encoder are left out first."""
    keep = names.ordered(features)
    for method in ("blur", "identity_restorer"):
        if len(keep) > 6 and method in keep:
            keep.remove(method)
    return {method: features[method] for method in keep[:6]}
