"""How encoders, tasks, data sets and conditions are called and coloured: once, for all tables and figures."""

from dataclasses import dataclass

# Okabe and Ito's palette: told apart with any of the common colour-vision deficiencies and in grey print.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, GREY, DARK = "#0072B2", "#D55E00", "#CC79A7", "#9A9A9A", "#4D4D4D"

GROUPS = {"baseline": "Baselines", "method": "Methods", "control": "Controls"}  # in the order of a table's rows


@dataclass(frozen=True)
class Look:
    """Name and drawing style of one encoder. ``group`` is a key of ``GROUPS``."""

    label: str
    group: str
    colour: str
    marker: str
    dash: str | tuple = "-"
    short: str = ""


ENCODERS = {
    "simclr": Look("SimCLR", "baseline", BLUE, "o", short="SimCLR"),
    "simclr_adversarial": Look("SimCLR + adversarial positive", "baseline", SKY, "s", short="SimCLR + adv."),
    "dar_sfrl_released": Look("DAR-SFRL (released)", "method", ORANGE, "^", short="DAR-SFRL rel."),
    "dar_sfrl": Look("DAR-SFRL (corrected)", "method", VERMILION, "D", short="DAR-SFRL corr."),
    "byol_clips": Look("BYOL on clips", "baseline", "#7F7F7F", "<", short="BYOL"),
    "moco_clips": Look("MoCo v2 on clips", "baseline", "#A0522D", ">", short="MoCo v2"),
    "simclr_clips": Look("SimCLR on clips", "baseline", "#17365D", "1", (0, (2, 1)), short="SimCLR clips"),
    "simclr_clips_256": Look("SimCLR on clips, 256 a step", "baseline", "#4A90D9", "_", (0, (1, 2)), short="SimCLR 256"),
    **{
        f"ssl_fer_{row}": Look(f"SSL-FER {row}: {words}", "method", colour, marker, short=f"SSL-FER {row}")
        for row, words, colour, marker in (
            ("a", "TimeAug", "#1B9E77", "2"), ("b", "TimeAug + HardNeg", "#D95F02", "3"),
            ("c", "TimeAug + HardNeg + CutMix", "#7570B3", "4"), ("d", "TimeAug + FaceSwap + MaskFN", "#E7298A", "x"),
            ("e", "TimeAug + HardNeg + FaceSwap", "#66A61E", "+"), ("f", "TimeAug + HardNeg + MaskFN", "#E6AB02", "|"),
            ("g", "all four", "#A6761D", "H"),
        )
    },
    "raw_pixels": Look("raw pixels", "control", GREY, "X", (0, (1, 1.2)), short="raw pixels"),
    "untrained": Look("untrained encoder", "control", DARK, "v", (0, (4, 1.5)), short="untrained"),
    "blur": Look("SimCLR after blur", "control", GREEN, "P", (0, (4, 1.2, 1, 1.2)), short="SimCLR blur"),
    "photometric": Look(
        "SimCLR, gain and offset undone", "control", "#8C6D31", "p", (0, (5, 1, 1, 1, 1, 1)), short="SimCLR gain"
    ),
    "photometric_pixels": Look(
        "raw pixels, gain and offset undone", "control", "#B8A46A", "8", (0, (3, 1, 1, 1)), short="pixels gain"
    ),
    "moving_pixels": Look("moving pixels, gain and offset undone", "control", "#4C8C7A", "*", (0, (1, 1)), short="moving pixels"),
    "pixel_readout": Look("DAR-SFRL's readout of plain pixels", "control", "#7A5C8C", "d", (0, (3, 1, 1, 1, 1, 1)), short="pixel readout"),
    "identity_restorer": Look(
        "DAR-SFRL, identity restorer", "control", PURPLE, "h", (0, (2, 1)), short="identity rest."
    ),
}
# Encoders this package does not know yet (a user's own method) are drawn as methods, in these colours.
SPARE = (PURPLE, GREEN, DARK, GREY)

TASKS = {
    "expression": "Expression",
    "verification": "Verification",
    "action_units": "Action units",
    "valence_arousal": "Valence/arousal",
    "expression_knn": "Expression (5-NN)",
    "valence_arousal_knn": "Valence/arousal (5-NN)",
    "expression_finetuned": "Expression (fine-tuned)",
    "valence_arousal_finetuned": "Valence/arousal (fine-tuned)",
}
MAIN_METRIC = {
    "expression": "accuracy",
    "verification": "accuracy",
    "action_units": "f1",
    "valence_arousal": "ccc",
    "expression_knn": "accuracy",
    "valence_arousal_knn": "ccc",
    "expression_finetuned": "accuracy",
    "valence_arousal_finetuned": "ccc",
}
METRIC_LABEL = {"accuracy": "Acc", "f1": "F1", "ccc": "CCC"}
# percent; F1 has no such level, and a CCC below 0 is worse than guessing
CHANCE = {"expression": 100 / 7, "verification": 50.0, "expression_knn": 100 / 7, "expression_finetuned": 100 / 7}

# What an attack on a task raises, mean over the items; by neighbours it is that of the linear probe, fine-tuned the same.
ATTACK_LOSSES = {
    "expression": "cross-entropy",
    "verification": "cosine of the two images, its sign turned where they show one person, so from -1 to 1",
    "action_units": "binary cross-entropy, summed over the units",
    "valence_arousal": "squared error, summed over both",
}

BY_NEIGHBOURS = (
    "A vote of neighbours has no gradient: 5-NN sees the images made against the linear probe behind the same encoder, so its "
    "score under attack is an upper bound and need not fall to zero."
)

# Which of our encoders stands for which row of SSL-FER's table (lib/report/ssl_fer.py).
SSL_FER_ROWS = {
    "byol_clips": "byol", "moco_clips": "moco_v2", "simclr_clips": "simclr", **{f"ssl_fer_{row}": row for row in "abcdefg"},
}  # fmt: skip

CODED = {"bp4d": "BP4D", "disfa": "DISFA", "disfa_plus": "DISFA+"}
DATASETS = {"rendered": "rendered faces", "orl": "ORL faces (real photographs)"} | CODED
DATASET_SHORT = {"rendered": "rendered", "orl": "ORL"} | CODED

ATTACKS = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "upgd": "UPGD",
    "bim": "BIM",
    "mifgsm": "MIFGSM",
    "eotpgd": "EOTPGD",
    "difgsm": "DIFGSM",
    "nifgsm": "NIFGSM",
    "sinifgsm": "SINIFGSM",
    "apgd": "Auto-PGD",
    "apgd_t": "APGD-T",
    "fab_t": "FAB-T",
    "square": "Square",
    "autoattack": "AutoAttack",
    "ssp": "SSP (no labels)",
    "m_blur": "on M: blur",
    "m_gain": "on M: gain",
    "m_occluder": "on M: occluder",
}
CORRUPTIONS = {"jpeg_compression": "JPEG", "elastic_transform": "elastic"}
SUMMARIES = {"mean": "mean", "worst": "worst", "mean_seen": "mean, seen types", "mean_unseen": "mean, unseen types"}


def look(method: str) -> Look:
    """Style of an encoder; one that is not in ``ENCODERS`` keeps its own name and gets a spare colour."""
    if method in ENCODERS:
        return ENCODERS[method]
    spare = SPARE[sum(method.encode()) % len(SPARE)]
    return Look(method, "method", spare, "p", short=method)


def ordered(methods) -> list[str]:
    """The encoders in the order of every table and figure: baselines, methods, controls; unknown ones by name."""
    known = list(ENCODERS)
    groups = list(GROUPS)
    rank = {
        name: (groups.index(look(name).group), known.index(name) if name in known else len(known), name)
        for name in set(methods)
    }
    return sorted(rank, key=rank.get)


def neighbours_note(tasks) -> list[str]:
    """What must be said of attacks where nearest neighbours are among the tasks; else nothing."""
    return [BY_NEIGHBOURS] if any(task.endswith("_knn") for task in tasks) else []


def condition_label(name: str) -> str:
    """'mifgsm' -> 'MIFGSM', 'gaussian_noise' -> 'gaussian noise'."""
    for names in (ATTACKS, CORRUPTIONS, SUMMARIES):
        if name in names:
            return names[name]
    if name.startswith("transfer_"):
        return f"transfer from {look(name.removeprefix('transfer_')).short}"
    return name.replace("_", " ")


def attack_loss(task: str) -> str:
    """'cross-entropy': what an attack on the task raises."""
    return ATTACK_LOSSES[task.removesuffix("_knn").removesuffix("_finetuned")]


def dataset_label(name: str) -> str:
    """'orl' -> 'ORL faces (real photographs)'; a user's own set keeps its name."""
    return DATASETS.get(name, f"the faces of '{name}'")


def task_label(task: str, dataset: str) -> str:
    """'Verification, ORL'."""
    return f"{TASKS.get(task, task.replace('_', ' '))}, {DATASET_SHORT.get(dataset, dataset)}"


def panel_title(task: str, dataset: str, longest: int = 26) -> str:
    """The same, in two lines where one is wider than a panel of a figure."""
    label = task_label(task, dataset)
    return label if len(label) <= longest else ",\n".join(label.rsplit(", ", 1))
