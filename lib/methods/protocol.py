"""Is a method one that can be trained: does it have the parts that lib.methods asks for, and does its loss give what it should?"""

import difflib

from torch import Tensor, nn

PROTOCOL = ("views", "loss", "optimizer", "encoder")  # what every method has; see lib.methods
IF_NEEDED = ("after_step", "after_epoch", "finish", "items", "labels", "rate", "begin", "began_with")  # what it may have

NEARLY = 0.9  # how alike two names are: 'after_steps' and 'finnish' are meant for others; 'item', 'labels_of' and 'n_items' may be helpers


def check_protocol(method: nn.Module) -> None:
    """Does ``method`` have the parts that lib.methods asks for, and none that is nearly called like one that it may have?

    Raises:
        ValueError: names what is missing, or the part that nothing would ever call.
    """
    name = type(method).__name__
    if lacking := [part for part in PROTOCOL if not callable(getattr(method, part, None))]:
        raise ValueError(f"{name}: expected the methods {', '.join(PROTOCOL)}, missing {', '.join(lacking)}")
    own = {part for part in set(dir(type(method))) - set(dir(nn.Module)) if callable(getattr(type(method), part))}
    for part in sorted(own - {*PROTOCOL, *IF_NEEDED}):
        if not part.startswith("_") and (meant := difflib.get_close_matches(part, IF_NEEDED, 1, NEARLY)):
            raise ValueError(
                f"{name}.{part}: nothing calls it; is {meant[0]} meant? (If it is a helper of your own, begin its name with '_')"
            )


def check_terms(method: nn.Module, terms: dict[str, Tensor]) -> None:
    """Is ``terms`` what ``method.loss`` should give: scalars by name, one of them 'loss', and 'embedding' [B, D] if it is there?

    Only types and shapes are looked at, for which no device is waited for.

    Raises:
        ValueError: says what came.
    """
    good = isinstance(terms, dict) and "loss" in terms
    if not good or not all(_fits(name, term) for name, term in terms.items()):
        raise ValueError(f"{_expected(method)}, and more scalars if you like, got {_in_words(terms)}")
    if not terms["loss"].requires_grad:
        raise ValueError(f"{type(method).__name__}.loss: nothing can be learnt from its 'loss', which carries no gradient (detached?)")


def check_embedded(method: nn.Module, embedded: bool) -> None:
    """Was there an 'embedding' among the losses of a batch of images, so that a row of the history tells of a collapse?

    Raises:
        ValueError: there was none.
    """
    if not embedded:
        raise ValueError(f"{_expected(method)}, got no 'embedding' in any step of a batch; one of the steps has to give it")


def _expected(method: nn.Module) -> str:
    return f"{type(method).__name__}.loss: expected a dict with 'loss' (a scalar) and 'embedding' [B, D] (for the collapse meter)"


def _fits(name: str, term: object) -> bool:
    return isinstance(term, Tensor) and term.dim() == (2 if name == "embedding" else 0)


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_in_words(term)}" for name, term in value.items()) + "}"
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
